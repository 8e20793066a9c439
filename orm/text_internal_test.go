package orm

import (
	"errors"
	"strings"
	"testing"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// A repository that forgets to look at a text alters nothing.
func TestCheckText(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	db, err := Open(ctx, "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	type name string
	for _, text := range []any{"null\x00byte", name("\xff")} {
		if _, err := db.conn.exec(ctx, "exec", "SELECT ?", text); !errors.Is(err, fulloncache.ErrInvalid) {
			t.Errorf("exec: %v", err)
		}
		if _, err := query[string](ctx, db.conn, "query", "SELECT ?", text); !errors.Is(err, fulloncache.ErrInvalid) {
			t.Errorf("query: %v", err)
		}
	}
	if got, err := one[string](ctx, db.conn, "query", "SELECT ?", name("O'☃?")); err != nil || got != "O'☃?" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "BTC/USD": "BTC/USD", "☃": "☃", "a\nb": `"a\nb"`, `"`: `"\""`, "\x00": `"\x00"`,
		strings.Repeat("x", 65): strings.Repeat("x", 64) + "…", "\n" + strings.Repeat("x", 99): `"\n` + strings.Repeat("x", 63) + `"…`,
	} {
		if got := printable(text); got != want {
			t.Errorf("%q became %s, want %s", text, got, want)
		}
	}
}
