package main

import (
	"os"
	"runtime"
	"strconv"
	"syscall"
)

// timerSlack is how late the kernel may be with a thread's timers, in nanoseconds.
// Its default, 50 µs, lets Go's monitor thread wake up for each few messages of a
// process that is now busy and now idle, which is what a hub is: that took a fifth
// of its processor time. What the hub itself waits for in less than that is the
// gathering of rooms of some 13 to 60 members.
const timerSlack = 1_000_000

// The requests of prctl(2).
const (
	prSetTimerSlack = 29
	prGetTimerSlack = 30
)

// relaxedBy names the process that has executed itself once more: whatever becomes
// of the slack, none does it twice.
const relaxedBy = "VEZECHAT_RELAXED_BY"

// relax gives the process timers that may be a millisecond late, unless whoever
// started it has chosen more, or a real-time policy has none. A thread's slack is
// that of the thread that made it, and the monitor is there before main: so the
// program is executed once more, in the same process, with what it has got. Where
// that is refused it goes on as it is.
func relax() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid := strconv.Itoa(os.Getpid())
	if os.Getenv(relaxedBy) == pid {
		_ = os.Unsetenv(relaxedBy)
		return
	}
	if syscall.Gettid() != os.Getpid() {
		return // the signal of the parent's death belongs to the first thread, and would be lost
	}
	was := slack()
	if was == 0 || was >= timerSlack {
		return
	}
	path, err := os.Executable()
	if err != nil {
		return
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return
	}
	if setSlack(timerSlack); slack() == timerSlack {
		_ = syscall.Exec(path, os.Args, append(os.Environ(), relaxedBy+"="+pid))
	}
	setSlack(was)
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files) // Exec has put it back to what it was before Go raised it
}

// slack is that of this thread, 0 when it is not known.
func slack() uintptr {
	n, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prGetTimerSlack, 0, 0)
	if errno != 0 {
		return 0
	}
	return n
}

func setSlack(n uintptr) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, n, 0)
}
