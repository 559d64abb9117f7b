package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsChild is one nats-server of a cluster, as it comes, with a client that uses a key-value bucket by hand.
type natsChild struct {
	server *server.Server
	nc     *nats.Conn
	js     jetstream.JetStream
}

func newNatsChild() verbs {
	c := &natsChild{}
	return verbs{"start": c.start, "register": c.register, "claim": c.claim}
}

func (c *natsChild) start(_ context.Context, r request) (reply, error) {
	host, port, err := hostPort(r.Peer)
	if err != nil {
		return reply{}, err
	}
	opts := &server.Options{
		ServerName: r.Name, Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: r.Dir, NoSigs: true, NoLog: true,
		Cluster: server.ClusterOpts{Name: "plain", Host: host, Port: port},
	}
	for _, route := range strings.Split(r.Cluster, ",") {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: route})
	}
	if c.server, err = server.NewServer(opts); err != nil {
		return reply{}, err
	}
	c.server.Start()
	if !c.server.ReadyForConnections(20 * time.Second) {
		return reply{}, errors.New("the server is not ready after 20 s")
	}
	if c.nc, err = nats.Connect(c.server.ClientURL()); err != nil {
		return reply{}, err
	}
	if c.js, err = jetstream.New(c.nc); err != nil {
		return reply{}, err
	}
	for end := time.Now().Add(30 * time.Second); ; {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := c.js.AccountInfo(ctx)
		cancel()
		if err == nil {
			return reply{}, nil
		}
		if time.Now().After(end) {
			return reply{}, fmt.Errorf("no JetStream after 30 s: %w", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func hostPort(addr string) (string, int, error) {
	host, port, ok := strings.Cut(addr, ":")
	n, err := strconv.Atoi(port)
	if !ok || err != nil {
		return "", 0, fmt.Errorf("no address: %q", addr)
	}
	return host, n, nil
}

// bucket makes a bucket of three replicas, or finds it: the first answers of a new cluster are refusals.
func (c *natsChild) bucket(ctx context.Context, name string) (kv jetstream.KeyValue, err error) {
	for range 50 {
		if kv, err = c.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, Replicas: 3, History: 1}); err == nil {
			return kv, nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return nil, err
}

// register creates a key for each name and puts one for each membership.
func (c *natsChild) register(ctx context.Context, r request) (reply, error) {
	kv, err := c.bucket(ctx, r.Prefix)
	if err != nil {
		return reply{}, err
	}
	return timed(r.N, r.Many, func(i int) error {
		if _, err := kv.Create(ctx, fmt.Sprintf("names.server-%d", i), []byte(value)); err != nil {
			return err
		}
		_, err := kv.Put(ctx, fmt.Sprintf("groups.tools.server-%d", i), []byte(value))
		return err
	})
}

func (c *natsChild) claim(ctx context.Context, r request) (reply, error) {
	kv, err := c.js.KeyValue(ctx, "claims")
	if err != nil {
		if kv, err = c.bucket(ctx, "claims"); err != nil {
			return reply{}, err
		}
	}
	time.Sleep(time.Duration(r.At - mono()))
	began := time.Now()
	_, err = kv.Create(ctx, r.Name, []byte(value))
	if errors.Is(err, jetstream.ErrKeyExists) {
		for { // who has it: a replica that answers a get may not know the key yet
			if _, err = kv.Get(ctx, r.Name); !errors.Is(err, jetstream.ErrKeyNotFound) {
				return reply{Elapsed: time.Since(began)}, err
			}
		}
	}
	return reply{OK: err == nil, Elapsed: time.Since(began)}, err
}
