package orm

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"

	"github.com/fullon/fulloncache"
)

func TestNumberScan(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		src  any
		want string
	}{
		{nil, ""}, {"1.50", "1.5"}, {[]byte("-0.1"), "-0.1"}, {int64(-7), "-7"}, {"0.1000000000000000000000", "0.1"},
		{0.1, "0.1"}, {0.1 + math.Nextafter(0.2, 1), "0.30000000000000004"}, {1e-8, "0.00000001"}, {67123.45, "67123.45"}, {1e37, "10000000000000000000000000000000000000"},
		{math.Copysign(0, -1), "0"}, {5e-324, "0"}, {1.2345678901234567e-5, "0.0000123456789012346"}, {1.7976931348623157, "1.7976931348623157"},
	} {
		var n number
		if err := n.Scan(c.src); err != nil || n.String() != c.want || n.Valid != (c.src != nil) {
			t.Errorf("%v: %s, %v; want %s", c.src, n, err, c.want)
		}
	}
	for _, src := range []any{math.NaN(), math.Inf(1), math.Inf(-1), 1e38, math.MaxFloat64, "", "NaN", "Infinity", "x", []byte{0}, "0.00000000000000000001", true, time.Now()} {
		var n number
		if err := n.Scan(src); !errors.Is(err, fulloncache.ErrCorrupt) {
			t.Errorf("%v: %s, %v", src, n, err)
		}
	}
}

func TestInstant(t *testing.T) {
	t.Parallel()
	newYork := time.FixedZone("", -5*3600)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	for _, c := range []struct {
		src  any
		want time.Time
	}{
		{nil, time.Time{}}, {noon, noon}, {noon.In(newYork), noon},
		{"2026-03-01T12:00:00.123456789Z", noon}, {"2026-03-01T07:00:00.123456789-05:00", noon}, {"2026-03-01 12:00:00", noon.Truncate(time.Second)},
	} {
		var i instant
		if err := i.Scan(c.src); err != nil || !i.Equal(c.want) || i.Location() != time.UTC {
			t.Errorf("%v: %s, %v; want %s", c.src, i, err, c.want)
		}
	}
	for _, src := range []any{"infinity", "", int64(1), "2026-13-01"} {
		var i instant
		if err := i.Scan(src); !errors.Is(err, fulloncache.ErrCorrupt) {
			t.Errorf("%v: %s, %v", src, i, err)
		}
	}
	for _, c := range []struct {
		dialect schema.Dialect
		want    string
	}{
		{pgdialect.New(), "'2026-03-01 12:00:00.123456+00'"},
		{sqlitedialect.New(), "'2026-03-01T12:00:00.123456789Z'"},
	} {
		got, err := instant{noon.In(newYork)}.AppendQuery(schema.NewQueryGen(c.dialect), nil)
		if err != nil || string(got) != c.want {
			t.Errorf("%s, %v; want %s", got, err, c.want)
		}
	}
	// What the columns hold, on PostgreSQL and on SQLite.
	for _, column := range []time.Time{noon, noon.Truncate(time.Microsecond)} {
		if got := (instant{column}).withNanos(nanosOf(noon)); !got.Equal(noon) {
			t.Errorf("%s, want %s", got, noon)
		}
	}
}
