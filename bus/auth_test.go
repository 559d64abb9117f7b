package bus_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
)

// serve starts a server with o and returns its address.
func serve(t *testing.T, o *server.Options) string {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(bustest.Deadline) {
		t.Fatal("server is not ready")
	}
	return srv.Addr().String()
}

func refused(t *testing.T, url string, o *bus.ConnectOptions) {
	t.Helper()
	c, err := bus.Connect(t.Context(), url, o)
	if !errors.Is(err, bus.ErrAuth) {
		t.Errorf("%+v: %v, want ErrAuth", o, err)
	}
	if err == nil {
		c.Close()
	}
}

func TestUserAndToken(t *testing.T) {
	url := "nats://" + serve(t, &server.Options{Username: "u", Password: "p"})
	bustest.Dial(t, url, &bus.ConnectOptions{User: "u", Password: "p"})
	bustest.Dial(t, "nats://u:p@"+url[len("nats://"):], nil)
	refused(t, url, nil)
	refused(t, url, &bus.ConnectOptions{User: "u", Password: "wrong"})

	url = "nats://" + serve(t, &server.Options{Authorization: "tok"})
	bustest.Dial(t, url, &bus.ConnectOptions{Token: "tok"})
	refused(t, url, &bus.ConnectOptions{Token: "wrong"})
}

func TestNKey(t *testing.T) {
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := kp.Seed()
	if err != nil {
		t.Fatal(err)
	}
	pub, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	file := write0600(t, "user.nk", seed)
	url := "nats://" + serve(t, &server.Options{Nkeys: []*server.NkeyUser{{Nkey: pub}}})
	bustest.Dial(t, url, &bus.ConnectOptions{NKey: file})
	refused(t, url, nil)
	refused(t, url, &bus.ConnectOptions{NKey: file + ".missing"})
	refused(t, url, &bus.ConnectOptions{Creds: file + ".missing"})
}

func TestTLS(t *testing.T) {
	ca, cert, key, pair := certificates(t)
	pool := x509.NewCertPool()
	raw, err := os.ReadFile(ca)
	if err != nil || !pool.AppendCertsFromPEM(raw) {
		t.Fatal("no CA", err)
	}
	url := "tls://" + serve(t, &server.Options{TLS: true, TLSVerify: true, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}})
	bustest.Dial(t, url, &bus.ConnectOptions{TLS: &bus.TLSOptions{CA: ca, Cert: cert, Key: key}})
	for what, o := range map[string]*bus.TLSOptions{"no CA": {Cert: cert, Key: key}, "no client certificate": {CA: ca}} {
		if c, err := bus.Connect(t.Context(), url, &bus.ConnectOptions{TLS: o}); err == nil {
			t.Errorf("%s: connected", what)
			c.Close()
		}
	}
	if _, err := bus.Connect(t.Context(), url, &bus.ConnectOptions{TLS: &bus.TLSOptions{Cert: cert}}); !errors.Is(err, bus.ErrBadOptions) {
		t.Errorf("a certificate without its key: %v", err)
	}
}

// TestContext reads contexts of the nats CLI: by name, by path, the selected one; and what is given besides overrides them.
func TestContext(t *testing.T) {
	addr := serve(t, &server.Options{Username: "u", Password: "p"})
	config := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	dir := filepath.Join(config, "nats", "context")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	context := func(name string, fields map[string]any) string {
		raw, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name+".json")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := context("prod", map[string]any{"url": "nats://" + addr, "user": "u", "password": "p", "inbox_prefix": "_INBOX.me"})
	context("elsewhere", map[string]any{"url": "nats://127.0.0.1:1", "user": "u", "password": "p"})
	context("wrong", map[string]any{"url": "nats://" + addr, "user": "u", "password": "wrong"})

	if c := bustest.Dial(t, "", &bus.ConnectOptions{Context: "prod"}); c.NATS().Opts.InboxPrefix != "_INBOX.me" {
		t.Errorf("inbox prefix %q", c.NATS().Opts.InboxPrefix)
	}
	bustest.Dial(t, "", &bus.ConnectOptions{Context: path})
	bustest.Dial(t, "nats://"+addr, &bus.ConnectOptions{Context: "elsewhere"})
	bustest.Dial(t, "nats://127.0.0.1:1,nats://"+addr, &bus.ConnectOptions{Context: "elsewhere"})
	bustest.Dial(t, "", &bus.ConnectOptions{Context: "wrong", User: "u", Password: "p"})
	refused(t, "", &bus.ConnectOptions{Context: "wrong"})
	if _, err := bus.Connect(t.Context(), "", &bus.ConnectOptions{Context: "missing"}); !errors.Is(err, bus.ErrBadOptions) {
		t.Errorf("an unknown context: %v", err)
	}
	if _, err := bus.Connect(t.Context(), "nats://"+addr, &bus.ConnectOptions{TLS: &bus.TLSOptions{CA: path + ".missing"}}); !errors.Is(err, bus.ErrBadOptions) {
		t.Errorf("a missing CA file: %v", err)
	}
	// No context was selected: the URL alone counts.
	refused(t, "nats://"+addr, &bus.ConnectOptions{SelectedContext: true})
	if err := os.WriteFile(filepath.Join(config, "nats", "context.txt"), []byte("prod\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bustest.Dial(t, "", &bus.ConnectOptions{SelectedContext: true})
}

func write0600(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certificates makes one that signs itself, for server and client alike.
func certificates(t *testing.T) (ca, cert, key string, pair tls.Certificate) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	cert, key = write0600(t, "cert.pem", certPEM), write0600(t, "key.pem", keyPEM)
	return cert, cert, key, pair
}
