package chaos

import "syscall"

// childAttributes: a process group of its own, so that a Ctrl-C in the terminal
// is the harness's to handle, and death with it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
