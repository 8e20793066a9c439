package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/redisproc"
)

type tlsConfig = tls.Config

// Replicated is a master with replicas.
type Replicated struct {
	Master   *Server
	Replicas []*Server
}

// NewReplicas starts a master with n replicas that are in sync.
func NewReplicas(t testing.TB, n int) *Replicated {
	t.Helper()
	r := &Replicated{Master: NewRedis(t, "--repl-diskless-sync-delay", "0")}
	for range n {
		r.Replicas = append(r.Replicas, NewRedis(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(r.Master.Port()), "--repl-diskless-sync-delay", "0"))
	}
	for _, s := range r.Replicas {
		Eventually(t, "replica", func() (bool, string) {
			info, err := s.Do(t, "INFO", "replication").ToString()
			must(t, err)
			return strings.Contains(info, "master_link_status:up"), info
		})
	}
	return r
}

// Sentinel is a master, a replica, and three Sentinels that watch them.
type Sentinel struct {
	*Replicated
	Sentinels []*Server
}

// SentinelMaster is the name the Sentinels give the master.
const SentinelMaster = "prices"

// NewSentinel starts them all.
func NewSentinel(t testing.TB) *Sentinel {
	t.Helper()
	s := &Sentinel{Replicated: NewReplicas(t, 1)}
	conf := fmt.Sprintf(`sentinel monitor %[1]s 127.0.0.1 %[2]d 2
sentinel down-after-milliseconds %[1]s 700
sentinel failover-timeout %[1]s 3000
`, SentinelMaster, s.Master.Port())
	for range 3 {
		s.Sentinels = append(s.Sentinels, newServer(t, redisproc.Options{Config: conf, Args: []string{"--sentinel"}}))
	}
	for _, one := range s.Sentinels {
		Eventually(t, "sentinels", func() (bool, string) {
			m, err := one.Do(t, "SENTINEL", "MASTER", SentinelMaster).AsStrMap()
			must(t, err)
			return m["num-other-sentinels"] == "2" && m["num-slaves"] == "1", fmt.Sprint(m)
		})
	}
	return s
}

// Addrs are the Sentinels' addresses.
func (s *Sentinel) Addrs() []string {
	var addrs []string
	for _, one := range s.Sentinels {
		addrs = append(addrs, one.Addr())
	}
	return addrs
}

// Failover kills the master and waits until the Sentinels agree on the replica.
func (s *Sentinel) Failover(t testing.TB) {
	t.Helper()
	s.Master.Kill()
	for _, one := range s.Sentinels {
		Eventually(t, "failover", func() (bool, string) {
			addr, err := one.Do(t, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SentinelMaster).AsStrSlice()
			must(t, err)
			return net.JoinHostPort(addr[0], addr[1]) == s.Replicas[0].Addr(), fmt.Sprint(addr)
		})
	}
}

// TLS is a server that wants TLS with a client certificate, and a password of
// its only user.
type TLS struct {
	*Server
	CA, Cert, Key  string // PEM files
	User, Password string
}

// NewTLS starts a server with TLS and an ACL user who may use the keys and
// channels of one prefix.
func NewTLS(t testing.TB, prefix string) *TLS {
	t.Helper()
	dir := t.TempDir()
	ca, caKey := certificate(t, dir, "ca", nil, nil)
	certificate(t, dir, "server", ca, caKey)
	certificate(t, dir, "client", ca, caKey)
	file := func(name string) string { return filepath.Join(dir, name) }
	s := &TLS{
		CA: file("ca.pem"), Cert: file("client.pem"), Key: file("client.key"),
		User: "bot", Password: "s3cret",
	}
	s.Server = start(t, redisproc.Options{TLS: true, Config: fmt.Sprintf(`tls-cert-file %s
tls-key-file %s
tls-ca-cert-file %s
user default off
user %s on >%s ~%s:* &db0:%s:* +@all
`, file("server.pem"), file("server.key"), s.CA, s.User, s.Password, prefix, prefix)})
	t.Cleanup(s.stop)
	pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	s.opt.TLSConfig = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	s.opt.Username, s.opt.Password = s.User, s.Password
	return s
}

// certificate writes a key and a certificate, signed by parent or itself.
func certificate(t testing.TB, dir, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:        parent == nil, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	secret, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	write := func(ext, kind string, b []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})
		must(t, os.WriteFile(filepath.Join(dir, name+ext), text, 0o600))
	}
	write(".pem", "CERTIFICATE", der)
	write(".key", "EC PRIVATE KEY", secret)
	return cert, key
}
