//go:build !linux

package netpoll

// The reactor is built on epoll. On any other system the build ends here, with
// the sentence that the compiler prints for this name.
var _ = Lectern_runs_on_Linux_only__its_reactor_is_built_on_epoll__build_with_GOOS_linux
