//go:build !linux

package chaos

import "syscall"

// childAttributes: a process group of its own, so that a Ctrl-C in the terminal
// is the harness's to handle.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
