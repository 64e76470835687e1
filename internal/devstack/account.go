package devstack

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is whom PostgreSQL runs as; nil: as ourselves.
type account struct{ uid, gid uint32 }

// accountFor decides whom PostgreSQL runs as: ourselves, or, as it refuses root,
// the owner of the cluster that is there already, postgres, or nobody.
func accountFor(cluster string) (*account, error) {
	fi, err := os.Stat(cluster)
	exists := err == nil
	if os.Geteuid() != 0 {
		if exists && owner(fi).uid != uint32(os.Geteuid()) {
			return nil, fmt.Errorf("%s belongs to user %d: run as that user, or use another directory", cluster, owner(fi).uid)
		}
		return nil, nil
	}
	if exists && owner(fi).uid != 0 {
		return owner(fi), nil
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		if a, ok := lookup(name); ok {
			return a, nil
		}
	}
	return nil, fmt.Errorf("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as")
}

func lookup(name string) (*account, bool) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, false
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &account{uint32(uid), uint32(gid)}, err1 == nil && err2 == nil && uid != 0
}

func owner(fi os.FileInfo) *account {
	st := fi.Sys().(*syscall.Stat_t) // what os.Stat gives on every unix
	return &account{st.Uid, st.Gid}
}

// own gives a path to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// uidOr returns the account's user id, ours when there is no account.
func (a *account) uidOrOurs() uint32 {
	if a == nil {
		return uint32(os.Geteuid())
	}
	return a.uid
}
