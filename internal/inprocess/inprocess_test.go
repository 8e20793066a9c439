package inprocess_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/inprocess"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// Time passes for its keys, and nothing of it is left once it is closed.
func TestServer(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv, err := inprocess.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{srv.Addr()}, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Do(ctx, client.B().Set().Key("k").Value("v").PxMilliseconds(300).Build()).Error(); err != nil {
		t.Fatal(err)
	}
	if v, err := client.Do(ctx, client.B().Get().Key("k").Build()).ToString(); v != "v" || err != nil {
		t.Errorf("got %q %v", v, err)
	}
	testenv.Eventually(t, "the key expires", func() (bool, string) {
		v, err := client.Do(ctx, client.B().Get().Key("k").Build()).ToString()
		return rueidis.IsRedisNil(err), fmt.Sprint(v, err)
	})
	srv.Close()
	srv.Close()
	if c, err := net.Dial("tcp", srv.Addr()); err == nil {
		_ = c.Close()
		t.Error("it still listens")
	}
}
