package fulloncache_test

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
)

// What the tests of all types of rows have in common. Fields are walked with
// reflect, so that one that is added later is not forgotten: it fails here until
// Equal and JSON know it.

// spoiled is a value with one field that is wrong, and what the error must name.
type spoiled[T any] struct {
	spoil    func(v *T)
	mentions []string
}

type validator interface{ Validate() error }

func wantInvalid[T validator](t *testing.T, good func() T, rows []spoiled[T]) {
	t.Helper()
	for i, row := range rows {
		v := good()
		row.spoil(&v)
		err := v.Validate()
		if !errors.Is(err, fulloncache.ErrInvalid) {
			t.Errorf("row %d, %q: %v", i, row.mentions, err)
			continue
		}
		text := err.Error()
		for _, m := range row.mentions {
			if !strings.Contains(text, m) {
				t.Errorf("row %d: %q does not name %q", i, text, m)
			}
		}
		// It goes into a log, in one line: no long quotes, no odd characters.
		if len(text) > 350 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == '\uFFFD' }) || strings.Contains(text, "%!") {
			t.Errorf("row %d: the error cannot stand in a line: %q", i, text)
		}
	}
}

func wantValid[T validator](t *testing.T, good func() T, changes ...func(v *T)) {
	t.Helper()
	must(t, good().Validate())
	for i, change := range changes {
		v := good()
		change(&v)
		if err := v.Validate(); err != nil {
			t.Errorf("change %d: %v", i, err)
		}
	}
}

// leaves calls visit with each field of a struct, those of an embedded Market as
// well.
func leaves(v reflect.Value, visit func(name string, f reflect.Value)) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Anonymous {
			leaves(v.Field(i), visit)
		} else {
			visit(f.Name, v.Field(i))
		}
	}
}

// changed returns values of a field that differ from the one it has.
func changed(t *testing.T, name string, now any) []any {
	t.Helper()
	switch x := now.(type) {
	case int:
		return []any{x + 1, -x - 1}
	case int64:
		return []any{x + 1, -x - 1}
	case bool:
		return []any{!x}
	case string:
		return []any{x + "x", strings.ToUpper(x) + " "}
	case fulloncache.Side:
		return []any{x + "x"}
	case fulloncache.OrderStatus:
		return []any{x + "x"}
	case fulloncache.Secret:
		return []any{fulloncache.NewSecret(x.Reveal() + "x")}
	case fulloncache.Decimal:
		return []any{x.Add(dec("1e-19")), dec("0").Sub(x).Sub(dec("1"))}
	case fulloncache.NullDecimal:
		other := fulloncache.Some(x.Decimal.Add(dec("1e-19")))
		if x.Valid {
			return []any{other, fulloncache.NullDecimal{}}
		}
		return []any{other, fulloncache.Some(dec("0"))}
	case time.Time:
		return []any{x.Add(time.Nanosecond), x.Add(-time.Hour)}
	case map[string]string:
		more, other, less := maps.Clone(x), maps.Clone(x), map[string]string{}
		more["one more"] = ""
		for k, v := range x {
			other[k] = v + "x"
		}
		return []any{more, other, less}
	}
	t.Fatalf("field %s has the type %T: say here how it changes", name, now)
	return nil
}

// wantEqual checks that a value is equal to itself with its decimals written and
// its times shown in other ways, and that no change of a field goes unnoticed but
// those of the fields that are named. The value's map is not empty.
func wantEqual[T interface{ Equal(T) bool }](t *testing.T, full T, ignored ...string) {
	t.Helper()
	var zero T
	for _, start := range []T{full, zero} {
		other := start
		leaves(reflect.ValueOf(&other).Elem(), func(_ string, f reflect.Value) {
			switch x := f.Interface().(type) {
			case fulloncache.Decimal:
				f.Set(reflect.ValueOf(dec(withZero(x))))
			case fulloncache.NullDecimal:
				x.Decimal = dec(withZero(x.Decimal))
				f.Set(reflect.ValueOf(x))
			case time.Time:
				f.Set(reflect.ValueOf(x.In(time.FixedZone("elsewhere", 5*3600+1800))))
			case map[string]string:
				f.Set(reflect.ValueOf(maps.Clone(x)))
			}
		})
		if !start.Equal(start) || !start.Equal(other) || !other.Equal(start) {
			t.Errorf("%+v is not equal to %+v", start, other)
		}
	}
	left := map[string]bool{}
	for _, name := range ignored {
		left[name] = true
	}
	leaves(reflect.ValueOf(full), func(name string, f reflect.Value) {
		if f.IsZero() {
			t.Errorf("the test's value has no %s", name)
		}
		for _, v := range changed(t, name, f.Interface()) {
			other := full
			leaves(reflect.ValueOf(&other).Elem(), func(n string, g reflect.Value) {
				if n == name {
					g.Set(reflect.ValueOf(v))
				}
			})
			if full.Equal(other) != left[name] || other.Equal(full) != left[name] {
				t.Errorf("%s %v instead of %v: equal is %t", name, v, f.Interface(), full.Equal(other))
			}
		}
		delete(left, name)
	})
	if len(left) > 0 {
		t.Errorf("there is no field %v", left)
	}
}

// withZero writes a number with a zero that it does not need.
func withZero(d fulloncache.Decimal) string {
	if s := d.String(); strings.Contains(s, ".") {
		return s + "0"
	}
	return d.String() + ".0"
}

var (
	anyNumber = rapid.Custom(func(t *rapid.T) fulloncache.Decimal { return draw(t, "number").dec })
	// JSON has times to the minute of the zone, and years of four digits there.
	anyMoment = rapid.Custom(func(t *rapid.T) time.Time {
		last := time.Date(9998, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
		zone := time.FixedZone("", 60*rapid.IntRange(-14*60, 14*60).Draw(t, "minutes east"))
		return time.Unix(rapid.Int64Range(0, last).Draw(t, "second"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanosecond")).In(zone)
	})
)

// fill fills each field of a struct with whatever its type allows, often with
// nothing, but for the fields that are named.
func fill(t *rapid.T, v reflect.Value, except ...string) {
	leaves(v, func(name string, f reflect.Value) {
		if slices.Contains(except, name) {
			return
		}
		switch f.Interface().(type) {
		case fulloncache.Decimal:
			f.Set(reflect.ValueOf(anyNumber.Draw(t, name)))
		case fulloncache.NullDecimal:
			if rapid.Bool().Draw(t, name+" is there") {
				f.Set(reflect.ValueOf(fulloncache.Some(anyNumber.Draw(t, name))))
			}
		case time.Time:
			if rapid.Bool().Draw(t, name+" is there") {
				f.Set(reflect.ValueOf(anyMoment.Draw(t, name)))
			}
		case map[string]string:
			f.Set(reflect.ValueOf(rapid.MapOfN(rapid.String(), rapid.String(), 0, 5).Draw(t, name)))
		default:
			switch f.Kind() {
			case reflect.Int, reflect.Int64:
				f.SetInt(rapid.Int64().Draw(t, name))
			case reflect.Bool:
				f.SetBool(rapid.Bool().Draw(t, name))
			case reflect.String:
				f.SetString(rapid.String().Draw(t, name))
			default:
				t.Fatalf("field %s has the type %s: say here how to draw it", name, f.Type())
			}
		}
	})
}

// wantRoundTrip checks that any value comes back from JSON as it was. What is
// not in JSON is named; what Equal ignores has to come back as well.
func wantRoundTrip[T any](t *testing.T, equal func(a, b T) bool, absent ...string) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		var in, out T
		fill(t, reflect.ValueOf(&in).Elem(), absent...)
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !equal(in, out) {
			t.Fatalf("%s\n%+v became\n%+v", text, in, out)
		}
		got := map[string]time.Time{}
		leaves(reflect.ValueOf(out), func(name string, f reflect.Value) {
			if at, ok := f.Interface().(time.Time); ok {
				got[name] = at
			}
		})
		leaves(reflect.ValueOf(in), func(name string, f reflect.Value) {
			if at, ok := f.Interface().(time.Time); ok && !at.Equal(got[name]) {
				t.Fatalf("%s %s became %s", name, at, got[name])
			}
		})
	})
}

// wantJSON checks the names in JSON, and what is left out.
func wantJSON(t *testing.T, v any, want string) {
	t.Helper()
	got, err := json.Marshal(v)
	must(t, err)
	if string(got) != want {
		t.Errorf("JSON\n%s, want\n%s", got, want)
	}
}

// Texts that the database cannot hold, and what it takes.
const (
	notUTF8  = "a\xffb"
	withNull = "a\x00b"
	odd      = "é \"'\n\t🙂"
	// Of bounds: a name's, a reference's, a small column's.
	mostName  = 256
	mostRef   = 64
	mostSmall = 32767
)

// wrongName are the ways in which a name can be wrong.
func wrongName[T any](what string, field func(v *T) *string) []spoiled[T] {
	set := func(text string) func(v *T) { return func(v *T) { *field(v) = text } }
	return []spoiled[T]{
		{set(""), []string{what + " is empty"}},
		{set(strings.Repeat("x", mostName+1)), []string{what, "xxx", "257 bytes", "at most 256"}},
		{set(strings.Repeat("\n", mostName+1)), []string{what, `\n`, "257 bytes"}},
		{set(notUTF8), []string{what, `"a\xffb"`, "UTF-8"}},
		{set(withNull), []string{what, `"a\x00b"`, "null"}},
	}
}

// wrongText are the ways in which a text of any length can be wrong.
func wrongText[T any](what string, field func(v *T) *string) []spoiled[T] {
	set := func(text string) func(v *T) { return func(v *T) { *field(v) = text } }
	return []spoiled[T]{
		{set(notUTF8), []string{what, `"a\xffb"`, "UTF-8"}},
		{set(withNull), []string{what, `"a\x00b"`, "null"}},
		{set(strings.Repeat("\n", 10_000) + "\x00"), []string{what, `\n`, "…"}},
	}
}

// wrongID are the ways in which an id can be wrong.
func wrongID[T any](what string, least int64, field func(v *T) *int64) []spoiled[T] {
	set := func(n int64) func(v *T) { return func(v *T) { *field(v) = n } }
	rows := []spoiled[T]{{set(-1), []string{what + " -1", "at least"}}}
	if least > 0 {
		rows = append(rows, spoiled[T]{set(0), []string{what + " 0", "at least 1"}})
	}
	return rows
}

// wrongSmall are the ways in which a number of a small column can be wrong.
func wrongSmall[T any](what, least, most string, field func(v *T) *int, wrong ...int) []spoiled[T] {
	var rows []spoiled[T]
	for _, n := range wrong {
		rows = append(rows, spoiled[T]{func(v *T) { *field(v) = n }, []string{what + " " + strconv.Itoa(n), "from " + least + " to " + most}})
	}
	return rows
}
