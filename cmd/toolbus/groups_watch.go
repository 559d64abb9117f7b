package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

// redrawPause bounds how often a table is drawn again: many changes at once are one picture.
const redrawPause = 100 * time.Millisecond

// watchGroups shows the groups, or the members of one, again whenever they change. On a terminal it is the same table, redrawn; in a pipe, or
// where JSON is asked for, it is what `watch -g` tells.
func (e *env) watchGroups(cmd *cobra.Command, group string) error {
	ctx := cmd.Context()
	if !e.out.tty || e.out.machine() {
		return e.watch(ctx, &registry.WatchOptions{Group: group}, func(ev registry.Event) bool {
			return ev.Member.Group != "" || ev.Kind == registry.Synced
		})
	}
	reg, done, err := e.follow(ctx)
	if err != nil {
		return err
	}
	defer done()
	for {
		err := e.redraw(ctx, reg, group)
		if !errors.Is(err, registry.ErrLagged) { // the next picture shows what was missed
			return err
		}
	}
}

// redraw draws until ctx ends or the events of reg do.
func (e *env) redraw(ctx context.Context, reg *registry.Registry, group string) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	changed, ended := make(chan struct{}, 1), make(chan error, 1)
	wg.Go(func() {
		synced := false
		for ev, err := range reg.Watch(ctx, &registry.WatchOptions{Group: group}) {
			if err != nil {
				ended <- err
				return
			}
			if synced = synced || ev.Kind == registry.Synced; !synced {
				continue
			}
			select {
			case changed <- struct{}{}:
			default: // the picture to come shows it too
			}
		}
		ended <- nil
	})
	for {
		select {
		case <-changed:
			if err := e.draw(reg, group); err != nil {
				return err
			}
		case err := <-ended:
			if s := interrupted(ctx); s != nil {
				return s
			}
			return err
		}
		select {
		case <-time.After(redrawPause):
		case <-ctx.Done():
		}
	}
}

// draw clears the terminal and shows one picture. An owner is silent here where the keeper's last pulse says so: nobody is asked for a picture.
func (e *env) draw(reg *registry.Registry, group string) error {
	if err := e.out.lines([]string{"\x1b[H\x1b[2J" + e.out.now().Format(time.TimeOnly) + "  scope " + e.scope}); err != nil {
		return err
	}
	if group == "" {
		return e.listGroups(reg, uint64(reg.Revision()))
	}
	members, err := reg.Members(group)
	if err != nil {
		return err
	}
	silent := map[string]bool{}
	if keeper, ok := reg.Keeper(); ok {
		for _, s := range keeper.Missing {
			silent[s] = true
		}
	}
	return e.listMembers(group, members, silent, uint64(reg.Revision()))
}
