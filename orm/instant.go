package orm

import (
	"fmt"
	"time"

	"github.com/uptrace/bun/dialect"
	"github.com/uptrace/bun/schema"

	"github.com/fullon/fulloncache"
)

const (
	// instantText is how SQLite keeps a time: as text that sorts as time does.
	instantText = "2006-01-02T15:04:05.000000000Z"
	// instantPostgres is a literal for PostgreSQL. A timestamp without time zone
	// ignores the zone, one with it heeds it: neither asks the session's.
	instantPostgres = "2006-01-02 15:04:05.000000+00"
)

// instant is a time in UTC.
type instant struct{ time.Time }

// Scan reads a column; null is the zero time.
func (i *instant) Scan(src any) error {
	switch src := src.(type) {
	case nil:
		*i = instant{}
		return nil
	case time.Time:
		*i = instant{src.UTC()}
		return nil
	case string:
		// The second is what SQLite's own functions write.
		for _, layout := range []string{time.RFC3339Nano, time.DateTime} {
			if t, err := time.Parse(layout, src); err == nil {
				*i = instant{t.UTC()}
				return nil
			}
		}
		return fmt.Errorf("%w: %s: want a time", fulloncache.ErrCorrupt, printable(src))
	}
	return fmt.Errorf("%w: a %T: want a time", fulloncache.ErrCorrupt, src)
}

// AppendQuery writes the time: to the nanosecond in SQLite, and cut to the
// microsecond in PostgreSQL, which would round it.
func (i instant) AppendQuery(gen schema.QueryGen, b []byte) ([]byte, error) {
	layout := instantText
	if gen.Dialect().Name() == dialect.PG {
		layout = instantPostgres
	}
	b = i.UTC().AppendFormat(append(b, '\''), layout)
	return append(b, '\''), nil
}

// now is when a row is stored first, to the microsecond that all databases keep.
func now() instant { return instant{time.Now().UTC().Truncate(time.Microsecond)} }

// nanosOf is what the column of nanoseconds beside a time holds: those beyond
// the microsecond. To sort and compare, take both columns, on every database.
func nanosOf(t time.Time) int { return t.Nanosecond() % 1000 }

// withNanos puts together what nanosOf took apart.
func (i instant) withNanos(nanos int) time.Time {
	return i.Truncate(time.Microsecond).Add(time.Duration(nanos))
}
