//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package bus

import "os"

// lockPath opens the file without a lock: other systems get no protection against two nodes in one directory.
func lockPath(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}
