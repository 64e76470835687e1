//go:build unix && !linux

package devstack

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// attributes are those of a child. There is no parent-death signal here: what
// outlives us is ended by the next start.
func attributes(as *account, _ syscall.Signal) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if as != nil {
		a.Credential = &syscall.Credential{Uid: as.uid, Gid: as.gid}
	}
	return a
}

// identify returns a process's name and working directory, empty when it is gone
// or not ours to look at. ps and lsof are part of macOS and the BSDs' base.
func identify(pid int) (name, dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), killLimit)
	defer cancel()
	comm, err := exec.CommandContext(ctx, "ps", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return "", ""
	}
	fields, err := exec.CommandContext(ctx, "lsof", "-a", "-d", "cwd", "-p", strconv.Itoa(pid), "-Fn").Output()
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(string(fields)) {
		if d, ok := strings.CutPrefix(strings.TrimSpace(line), "n"); ok {
			dir = d
		}
	}
	return filepath.Base(strings.TrimSpace(string(comm))), dir
}

// workersIn is not known here: PostgreSQL's own check of its shared memory, and
// trying again, stand in for it.
func workersIn(string, string) []int { return nil }
