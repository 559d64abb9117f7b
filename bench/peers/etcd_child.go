package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// etcdChild is one member of an etcd cluster with a client of it, or a client alone.
type etcdChild struct {
	server  *embed.Etcd
	client  *clientv3.Client
	waiting chan reply
}

func newEtcdChild() verbs {
	c := &etcdChild{}
	return verbs{"start": c.start, "connect": c.connect, "register": c.register, "batch": c.batch, "claim": c.claim, "hold": c.hold, "gone": c.gone, "write": c.write, "collect": c.collect, "leads": c.leads}
}

// start starts a member and waits until the cluster is ready.
func (c *etcdChild) start(ctx context.Context, r request) (reply, error) {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = r.Name, r.Dir
	client, err := url.Parse(r.Client)
	if err != nil {
		return reply{}, err
	}
	peer, err := url.Parse(r.Peer)
	if err != nil {
		return reply{}, err
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	cfg.InitialCluster = r.Cluster
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	if c.server, err = embed.StartEtcd(cfg); err != nil {
		return reply{}, err
	}
	select {
	case <-c.server.Server.ReadyNotify():
	case err := <-c.server.Err():
		return reply{}, err
	case <-time.After(30 * time.Second):
		return reply{}, errors.New("etcd is not ready after 30 s")
	}
	return c.connect(ctx, r)
}

func (c *etcdChild) connect(_ context.Context, r request) (reply, error) {
	var err error
	c.client, err = clientv3.New(clientv3.Config{Endpoints: []string{r.Client}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	return reply{}, err
}

func (c *etcdChild) lease(ctx context.Context, ttl int) (clientv3.LeaseID, error) {
	l, err := c.client.Grant(ctx, int64(max(ttl, 2)))
	if err != nil {
		return 0, err
	}
	alive, err := c.client.KeepAlive(context.Background(), l.ID) // ends with the process
	if err != nil {
		return 0, err
	}
	go func() {
		for range alive {
		}
	}()
	return l.ID, nil
}

// create is the operation that claims a name with a membership, on a lease.
func create(prefix string, i int, lease clientv3.LeaseID) (clientv3.Cmp, []clientv3.Op) {
	name := fmt.Sprintf("%s/names/server-%d", prefix, i)
	member := fmt.Sprintf("%s/groups/tools/server-%d", prefix, i)
	return clientv3.Compare(clientv3.CreateRevision(name), "=", 0), []clientv3.Op{
		clientv3.OpPut(name, value, clientv3.WithLease(lease)),
		clientv3.OpPut(member, value, clientv3.WithLease(lease)),
	}
}

// value is about as long as a record.
var value = fmt.Sprintf("%0200d", 0)

func (c *etcdChild) register(ctx context.Context, r request) (reply, error) {
	lease, err := c.lease(ctx, 60)
	if err != nil {
		return reply{}, err
	}
	return timed(r.N, r.Many, func(i int) error {
		cmp, puts := create(r.Prefix, i, lease)
		res, err := c.client.Txn(ctx).If(cmp).Then(puts...).Commit()
		if err == nil && !res.Succeeded {
			err = errors.New("taken")
		}
		return err
	})
}

// batch registers as many names in a transaction as etcd takes by default: 128 operations.
func (c *etcdChild) batch(ctx context.Context, r request) (reply, error) {
	lease, err := c.lease(ctx, 60)
	if err != nil {
		return reply{}, err
	}
	const each = 64
	began := time.Now()
	for from := 0; from < r.N; from += each {
		var cmps []clientv3.Cmp
		var ops []clientv3.Op
		for i := from; i < min(from+each, r.N); i++ {
			cmp, puts := create(r.Prefix, i, lease)
			cmps, ops = append(cmps, cmp), append(ops, puts...)
		}
		res, err := c.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
		if err != nil {
			return reply{}, err
		}
		if !res.Succeeded {
			return reply{}, errors.New("taken")
		}
	}
	return reply{N: r.N, Elapsed: time.Since(began)}, nil
}

// claim claims a name at a moment that was agreed; a loser is told who has it.
func (c *etcdChild) claim(ctx context.Context, r request) (reply, error) {
	time.Sleep(time.Duration(r.At - mono()))
	began := time.Now()
	res, err := c.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(r.Name), "=", 0)).
		Then(clientv3.OpPut(r.Name, value)).Else(clientv3.OpGet(r.Name)).Commit()
	if err != nil {
		return reply{}, err
	}
	return reply{OK: res.Succeeded, Elapsed: time.Since(began)}, nil
}

// hold claims a name on a lease that the process keeps alive.
func (c *etcdChild) hold(ctx context.Context, r request) (reply, error) {
	lease, err := c.lease(ctx, r.TTL)
	if err != nil {
		return reply{}, err
	}
	_, err = c.client.Put(ctx, r.Name, value, clientv3.WithLease(lease))
	return reply{}, err
}

// gone begins to watch a key; collect says when it was deleted.
func (c *etcdChild) gone(_ context.Context, r request) (reply, error) {
	c.waiting = make(chan reply, 1)
	watch := c.client.Watch(context.Background(), r.Name, clientv3.WithFilterPut(), clientv3.WithCreatedNotify()) // ends with the process
	<-watch
	go func() {
		for res := range watch {
			if len(res.Events) > 0 {
				c.waiting <- reply{At: mono()}
				return
			}
		}
	}()
	return reply{}, nil
}

// write writes one key after the other until a time; collect says when each was acknowledged.
func (c *etcdChild) write(_ context.Context, r request) (reply, error) {
	c.waiting = make(chan reply, 1)
	go func() {
		var ats []int64
		for i := 0; mono() < r.At; i++ {
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			if _, err := c.client.Put(ctx, fmt.Sprintf("%s/%d", r.Prefix, i), value); err == nil {
				ats = append(ats, mono())
			}
			cancel()
		}
		c.waiting <- reply{Ats: ats}
	}()
	return reply{}, nil
}

func (c *etcdChild) collect(context.Context, request) (reply, error) {
	select {
	case r := <-c.waiting:
		return r, nil
	case <-time.After(2 * time.Minute):
		return reply{}, errors.New("it did not happen within two minutes")
	}
}

func (c *etcdChild) leads(context.Context, request) (reply, error) {
	return reply{OK: c.server.Server.Leader() == c.server.Server.MemberID(), N: os.Getpid()}, nil
}
