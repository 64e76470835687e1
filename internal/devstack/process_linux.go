package devstack

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// capDACOverride is CAP_DAC_OVERRIDE of capabilities(7).
const capDACOverride = 1

// attributes are those of a child that gets sig when we die.
func attributes(as *account, sig syscall.Signal) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: sig}
	if as != nil {
		a.Credential = &syscall.Credential{Uid: as.uid, Gid: as.gid, Groups: []uint32{}}
		if holds(capDACOverride) {
			a.AmbientCaps = []uintptr{capDACOverride}
		}
	}
	return a
}

// holds reports whether this process has a capability in its permitted set: the
// root of a container may lack it, and asking for it would then fail the start.
func holds(capability int) bool {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if hex, ok := strings.CutPrefix(line, "CapPrm:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err == nil && set&(1<<capability) != 0
		}
	}
	return false
}

// identify returns a process's name and working directory, empty when it is gone
// or not ours to look at.
func identify(pid int) (name, dir string) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	comm, err := os.ReadFile(filepath.Join(proc, "comm"))
	if err != nil {
		return "", ""
	}
	dir, err = os.Readlink(filepath.Join(proc, "cwd"))
	if err != nil {
		return "", "" // also a zombie, which holds nothing any more
	}
	return strings.TrimSpace(string(comm)), dir
}

// workersIn lists the processes of a name that work in dir.
func workersIn(name, dir string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && lives(pid, name, dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}
