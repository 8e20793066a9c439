package fulloncache_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
	"github.com/fullon/fulloncache/orm"
)

// TestMetadataOfDatabases runs the conformance suite of the two caches over the
// repositories, as programs wire them.
func TestMetadataOfDatabases(t *testing.T) {
	t.Parallel()
	// Migrated once, and copied for each test.
	t.Run("postgres", func(t *testing.T) {
		server := testenv.Postgres(t)
		template := server.Database(t)
		migrate(t, template)
		metadataSuite(t, func(t testing.TB) record {
			return recordAt(t, server.CopyOf(t, template))
		})
	})
	t.Run("sqlite", func(t *testing.T) {
		template := filepath.Join(t.TempDir(), "template.db")
		migrate(t, "sqlite:"+template)
		file, err := os.ReadFile(template)
		must(t, err)
		metadataSuite(t, func(t testing.TB) record {
			path := filepath.Join(t.TempDir(), "record.db")
			must(t, os.WriteFile(path, file, 0o600))
			return recordAt(t, "sqlite:"+path)
		})
	})
}

func migrate(t testing.TB, dsn string) {
	t.Helper()
	ctx := testenv.Context(t)
	db, err := orm.Open(ctx, dsn)
	must(t, err)
	must(t, db.Migrate(ctx))
	must(t, db.Close())
}

// recordAt is the record in a database.
func recordAt(t testing.TB, dsn string) record {
	t.Helper()
	ctx := testenv.Context(t)
	db, err := orm.Open(ctx, dsn)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	users := 0
	return record{db.Exchanges, db.Symbols, func(t testing.TB) int64 {
		t.Helper()
		users++
		u, err := db.Users.Add(ctx, fulloncache.User{Mail: fmt.Sprintf("%d@example.com", users), Name: "Someone"})
		must(t, err)
		return u.ID
	}, roundsOf(15)}
}
