package orm_test

import (
	"testing"

	"github.com/fullon/fulloncache/orm"
)

func TestMigrate(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		list, err := db.Migrations(s.ctx)
		must(s, err)
		for i, m := range list {
			if m.Version != int64(i+1) || m.Name == "" || m.Applied.IsZero() {
				s.Errorf("migration %d: %+v", i, m)
			}
		}
		must(s, db.Migrate(s.ctx))
	})
}
