package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/toolbus/toolbus/servers"
)

// What a lazy server is, is kept in the user's cache: who runs it again need not start it to know.

// memory is the file for one command as it is run here.
func memory(command []string, f runFlags) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	what, err := json.Marshal([]any{command, f.env, f.dir, build().Version})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(what)
	return filepath.Join(dir, "toolbus", "servers", hex.EncodeToString(sum[:12])+".json"), nil
}

// remembered is what the server was the last time, nil if that is not known.
func (e *env) remembered(command []string, f runFlags) *servers.Info {
	path, err := memory(command, f)
	if err != nil {
		return nil
	}
	data, err := os.ReadFile(path)
	var info servers.Info
	if err != nil || json.Unmarshal(data, &info) != nil || info.Era == "" {
		return nil
	}
	return &info
}

// remember keeps what a server is. Where that cannot be it is started to be asked the next time too.
func (e *env) remember(command []string, f runFlags, info servers.Info) {
	path, err := memory(command, f)
	if err != nil {
		return
	}
	data, err := json.Marshal(info)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		e.note("what the server is could not be remembered: %s", plain(err))
	}
}
