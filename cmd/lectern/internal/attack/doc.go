// Package attack holds tests that attack the real binary on the loopback
// interface while an innocent room goes on beside the attack. It has no code of
// its own.
//
// `go test` runs each attack for a moment and with few connections; `make
// attack` runs them in full and prints a table. The attackers are processes of
// their own, with other addresses than the innocent, the lowest priority, and
// bounds in count and time. The relay runs in a memory cgroup where one can be
// made; elsewhere only its resident memory is looked at.
package attack
