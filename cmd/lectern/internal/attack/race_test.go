//go:build linux && race

package attack

func init() { raced = true }
