package main

import (
	"os"
	"runtime"
	"syscall"
)

// timerSlack is how late the kernel may be with a thread's timers, in nanoseconds.
// Its default, 50 µs, lets Go's monitor thread wake up for each few messages of a
// process that is now busy and now idle, which is what a hub is: that took a fifth
// of its processor time. The hub's own shortest timer is 10 ms.
const timerSlack = 1_000_000

// The requests of prctl(2).
const (
	prSetTimerSlack = 29
	prGetTimerSlack = 30
)

// relax gives the process timers that may be a millisecond late, unless whoever
// started it has chosen more. A thread's slack is that of the thread that made it,
// and the monitor is there before main: so the program is executed once more, in
// the same process, with what it has got. Where that is refused it goes on as it is.
func relax() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	now, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prGetTimerSlack, 0, 0)
	if errno != 0 || now >= timerSlack {
		return
	}
	path, err := os.Executable()
	if err != nil {
		return
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, timerSlack, 0); errno != 0 {
		return
	}
	_ = syscall.Exec(path, os.Args, os.Environ())
}
