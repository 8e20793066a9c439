package fulloncache_test

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
)

func TestParseDecimal(t *testing.T) {
	t.Parallel()
	digits38 := strings.Repeat("9", 38)
	for text, want := range map[string]string{
		"0":                                 "0",
		"-0":                                "0",
		"-0.000":                            "0",
		"0e32767":                           "0",
		"1":                                 "1",
		"-3":                                "-3",
		"007":                               "7",
		"+5":                                "5",
		".5":                                "0.5",
		"-.5":                               "-0.5",
		"5.":                                "5",
		"1.50":                              "1.5",
		"914332.06000000":                   "914332.06",
		"1e-8":                              "0.00000001",
		"1E+3":                              "1000",
		"-12.5e1":                           "-125",
		"1.2300e-17":                        "0.0000000000000000123",
		"10e-20":                            "0.0000000000000000001",
		"0.0000000000000000001":             "0.0000000000000000001",
		"1.00000000000000000000":            "1",
		"1e37":                              "1" + strings.Repeat("0", 37),
		digits38:                            digits38,
		"-" + digits38:                      "-" + digits38,
		strings.Repeat("0", 60) + digits38:  digits38,
		digits38[:19] + "." + digits38[:19]: digits38[:19] + "." + digits38[:19],
		strings.Repeat("0", 127) + "1":      "1",
		"9999999999999999999":               "9999999999999999999",
		"99999999999999999.9":               "99999999999999999.9",
	} {
		got, err := fulloncache.ParseDecimal(text)
		if err != nil || got.String() != want {
			t.Errorf("ParseDecimal(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
}

func TestParseDecimalRefuses(t *testing.T) {
	t.Parallel()
	const number = "not a finite decimal number"
	for text, want := range map[string]string{
		"":                        number,
		"-":                       number,
		"+":                       number,
		".":                       number,
		"-.":                      number,
		"e5":                      number,
		"1e":                      number,
		"1e1.5":                   number,
		"1e99999":                 number,
		"1e5e5":                   number,
		"--1":                     number,
		"1-":                      number,
		"1.2.3":                   number,
		"NaN":                     number,
		"Inf":                     number,
		"-Infinity":               number,
		"0x1":                     number,
		"0b1":                     number,
		"1_000":                   number,
		"1,5":                     number,
		" 1":                      number,
		"1 ":                      number,
		"1\n":                     number,
		"１":                       number,
		"null":                    number,
		strings.Repeat("9", 39):   "has 39 digits, at most 38 fit",
		"1e38":                    "has 39 digits, at most 38 fit",
		"1e32767":                 "has 32768 digits, at most 38 fit",
		"0.00000000000000000001":  "has 20 decimals, at most 19 fit",
		"1e-20":                   "has 20 decimals, at most 19 fit",
		"1e-32768":                "has 32768 decimals, at most 19 fit",
		strings.Repeat("0", 129):  "longer than 128 characters",
		strings.Repeat("x", 5000): "longer than 128 characters",
	} {
		got, err := fulloncache.ParseDecimal(text)
		if err == nil || !got.IsZero() {
			t.Errorf("ParseDecimal(%q) = %s, %v; want an error", text, got, err)
			continue
		}
		shown := text
		if len(text) > 128 {
			shown = text[:128] + "…"
		}
		wantErr(t, err, fulloncache.ErrInvalid, want, `"`+strings.ReplaceAll(shown, "\n", `\n`)+`"`)
		if len(err.Error()) > 300 {
			t.Errorf("the error quotes %d bytes", len(err.Error()))
		}
	}
}

func TestMustDecimal(t *testing.T) {
	t.Parallel()
	if got := fulloncache.MustDecimal("1e-8").String(); got != "0.00000001" {
		t.Error(got)
	}
	defer func() {
		if err, ok := recover().(error); !ok || !strings.Contains(err.Error(), `"one"`) {
			t.Errorf("panicked with %v", err)
		}
	}()
	fulloncache.MustDecimal("one")
}

func TestDecimalBasics(t *testing.T) {
	t.Parallel()
	var zero fulloncache.Decimal
	if zero.String() != "0" || !zero.IsZero() || zero.Sign() != 0 || !zero.Equal(dec("-0")) {
		t.Errorf("the zero value is %s", zero)
	}
	if !dec("1.50").Equal(dec("1.5")) || dec("1.5").Equal(dec("1.51")) {
		t.Error("equality is not numeric")
	}
	if dec("-2").Cmp(dec("1")) != -1 || dec("2").Cmp(dec("1.9")) != 1 || dec("2").Cmp(dec("2.0")) != 0 {
		t.Error("Cmp")
	}
	if dec("-2").Sign() != -1 || dec("2").Sign() != 1 || dec("2").IsZero() {
		t.Error("Sign")
	}
	if got := dec("0.1").Float64(); got != 0.1 {
		t.Errorf("Float64 of 0.1 is %v", got)
	}
	if got := dec("-67123.45").Float64(); math.Abs(got+67123.45) > 1e-9 {
		t.Errorf("Float64 of -67123.45 is %v", got)
	}
}

// drawn is a decimal and the same number as a fraction, from a text that need
// not be in normal form.
type drawn struct {
	text string
	dec  fulloncache.Decimal
	rat  *big.Rat
}

func ratOf(t rapid.TB, text string) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatalf("%q is not a number", text)
	}
	return r
}

var numberText = rapid.Custom(func(t *rapid.T) string {
	sign := rapid.SampledFrom([]string{"", "-", "+"}).Draw(t, "sign")
	whole := rapid.StringMatching(`[0-9]{1,19}`).Draw(t, "whole")
	frac := rapid.StringMatching(`[0-9]{0,19}`).Draw(t, "frac")
	switch rapid.IntRange(0, 3).Draw(t, "form") {
	case 0:
		return sign + whole
	case 1:
		return sign + whole + "e-" + rapid.SampledFrom([]string{"1", "8", "19"}).Draw(t, "exp")
	case 2:
		return sign + whole + "E+" + rapid.SampledFrom([]string{"1", "8", "19"}).Draw(t, "exp")
	}
	return sign + whole + "." + frac
})

func draw(t *rapid.T, label string) drawn {
	text := numberText.Draw(t, label)
	d, err := fulloncache.ParseDecimal(text)
	if err != nil {
		t.Fatal(err)
	}
	return drawn{text: text, dec: d, rat: ratOf(t, text)}
}

func TestDecimalRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := draw(t, "n")
		out := n.dec.String()
		if ratOf(t, out).Cmp(n.rat) != 0 {
			t.Fatalf("%q became %q", n.text, out)
		}
		if strings.ContainsAny(out, "eE+") || strings.Contains(out, ".") && strings.HasSuffix(out, "0") {
			t.Fatalf("%q is not plain", out)
		}
		again, err := fulloncache.ParseDecimal(out)
		if err != nil || !again.Equal(n.dec) || again.String() != out {
			t.Fatalf("%q became %s, %v", out, again, err)
		}
	})
}

func TestDecimalArithmeticIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t, "a"), draw(t, "b")
		if sum := a.dec.Add(b.dec); ratOf(t, sum.String()).Cmp(new(big.Rat).Add(a.rat, b.rat)) != 0 {
			t.Fatalf("%s + %s = %s", a.text, b.text, sum)
		}
		if diff := a.dec.Sub(b.dec); ratOf(t, diff.String()).Cmp(new(big.Rat).Sub(a.rat, b.rat)) != 0 {
			t.Fatalf("%s - %s = %s", a.text, b.text, diff)
		}
		if got, want := a.dec.Cmp(b.dec), a.rat.Cmp(b.rat); got != want || a.dec.Equal(b.dec) != (want == 0) {
			t.Fatalf("%s against %s: %d, want %d", a.text, b.text, got, want)
		}
		if a.dec.Sign() != a.rat.Sign() || a.dec.IsZero() != (a.rat.Sign() == 0) {
			t.Fatalf("sign of %s", a.text)
		}
	})
}

func TestDecimalRoundTable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		number             string
		places             int
		down, even, halfUp string
	}{
		{"0.125", 2, "0.12", "0.12", "0.13"},
		{"0.135", 2, "0.13", "0.14", "0.14"},
		{"-0.125", 2, "-0.12", "-0.12", "-0.13"},
		{"-0.4", 0, "0", "0", "0"},
		{"2.5", 0, "2", "2", "3"},
		{"1.999", 2, "1.99", "2", "2"},
		{"1.5", 19, "1.5", "1.5", "1.5"},
		{"0.0000000000000000019", 18, "0.000000000000000001", "0.000000000000000002", "0.000000000000000002"},
		{"9999999999999999999.9999999999999999999", 18, "9999999999999999999.999999999999999999", "10000000000000000000", "10000000000000000000"},
	} {
		for mode, want := range map[fulloncache.Rounding]string{
			fulloncache.Down: c.down, fulloncache.HalfEven: c.even, fulloncache.HalfUp: c.halfUp,
		} {
			got, err := dec(c.number).Round(c.places, mode)
			if err != nil || got.String() != want {
				t.Errorf("%s to %d places, mode %d: %s, %v; want %s", c.number, c.places, mode, got, err, want)
			}
		}
	}
	_, err := dec("1").Round(-1, fulloncache.Down)
	wantErr(t, err, fulloncache.ErrInvalid, "-1 places", "0 to 19")
	_, err = dec("1").Round(20, fulloncache.Down)
	wantErr(t, err, fulloncache.ErrInvalid, "20 places")
	_, err = dec("1").Round(2, fulloncache.Rounding(7))
	wantErr(t, err, fulloncache.ErrInvalid, "mode 7")
}

func TestDecimalRoundProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := draw(t, "n")
		places := rapid.IntRange(0, fulloncache.MaxDecimalPlaces).Draw(t, "places")
		unit := new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil))
		half := new(big.Rat).Mul(unit, big.NewRat(1, 2))
		for _, mode := range []fulloncache.Rounding{fulloncache.Down, fulloncache.HalfEven, fulloncache.HalfUp} {
			rounded, err := n.dec.Round(places, mode)
			if err != nil {
				t.Fatal(err)
			}
			r := ratOf(t, rounded.String())
			steps := new(big.Rat).Quo(r, unit)
			if !steps.IsInt() {
				t.Fatalf("%s to %d places, mode %d: %s has more", n.text, places, mode, rounded)
			}
			off := new(big.Rat).Sub(r, n.rat)
			grew := new(big.Rat).Abs(r).Cmp(new(big.Rat).Abs(n.rat))
			switch far := off.Abs(off).Cmp(half); {
			case mode == fulloncache.Down && (grew > 0 || off.Cmp(unit) >= 0):
				t.Fatalf("%s down to %d places: %s", n.text, places, rounded)
			case mode != fulloncache.Down && far > 0:
				t.Fatalf("%s to %d places, mode %d: %s is not the nearest", n.text, places, mode, rounded)
			case mode == fulloncache.HalfEven && far == 0 && steps.Num().Bit(0) != 0:
				t.Fatalf("%s to %d places: the tie went to the odd %s", n.text, places, rounded)
			case mode == fulloncache.HalfUp && far == 0 && grew < 0:
				t.Fatalf("%s to %d places: the tie went to zero: %s", n.text, places, rounded)
			}
		}
	})
}

func TestDecimalText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := draw(t, "n")
		text, err := n.dec.MarshalText()
		if err != nil || string(text) != n.dec.String() {
			t.Fatalf("%q, %v", text, err)
		}
		text, err = n.dec.AppendText([]byte("x="))
		if err != nil || string(text) != "x="+n.dec.String() {
			t.Fatalf("%q, %v", text, err)
		}
		var back fulloncache.Decimal
		if err := back.UnmarshalText([]byte(n.text)); err != nil || !back.Equal(n.dec) {
			t.Fatalf("%s became %s, %v", n.text, back, err)
		}
	})
	back := dec("5")
	wantErr(t, back.UnmarshalText([]byte("five")), fulloncache.ErrInvalid, `"five"`)
}

// priced is a struct as programs write them.
type priced struct {
	Price  fulloncache.Decimal     `json:"price"`
	Volume fulloncache.NullDecimal `json:"volume,omitzero"`
	Last   fulloncache.NullDecimal `json:"last"`
}

func TestDecimalJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		price, volume := draw(t, "price"), draw(t, "volume")
		in := priced{Price: price.dec}
		if rapid.Bool().Draw(t, "has volume") {
			in.Volume = fulloncache.Some(volume.dec)
		}
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "volume") != in.Volume.Valid || !strings.Contains(string(text), `"last":null`) ||
			!strings.Contains(string(text), `"price":"`+price.dec.String()+`"`) {
			t.Fatalf("JSON %s", text)
		}
		out := priced{Last: fulloncache.Some(price.dec)}
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatal(err)
		}
		if !out.Price.Equal(in.Price) || !out.Volume.Equal(in.Volume) || out.Last.Valid {
			t.Fatalf("%+v became %+v", in, out)
		}
		// Numbers are read without a float in between.
		var number fulloncache.Decimal
		if err := json.Unmarshal([]byte(price.dec.String()), &number); err != nil || !number.Equal(price.dec) {
			t.Fatalf("%s became %s, %v", price.dec, number, err)
		}
	})
	for text, want := range map[string]string{
		`{"price": null}`:                  `"null"`,
		`{"price": true}`:                  `"true"`,
		`{"price": ""}`:                    `""`,
		`{"price": "NaN"}`:                 `"NaN"`,
		`{"price": {"a": 1}}`:              `{`,
		`{"price": 1, "volume": "x"}`:      `"x"`,
		`{"price": 1, "last": [1]}`:        `"[1]"`,
		`{"price": 1, "volume": "1e-100"}`: `"1e-100"`,
	} {
		var p priced
		wantErr(t, json.Unmarshal([]byte(text), &p), fulloncache.ErrInvalid, want)
		if p.Volume.Valid || p.Last.Valid {
			t.Errorf("%s: a number that was refused is there: %+v", text, p)
		}
	}
}

func TestNullDecimal(t *testing.T) {
	t.Parallel()
	var absent fulloncache.NullDecimal
	if absent.String() != "" || !absent.IsZero() || absent.Valid {
		t.Errorf("the zero value is %+v", absent)
	}
	zero := some("0")
	if zero.String() != "0" || zero.IsZero() || !zero.Valid {
		t.Errorf("0 is %+v", zero)
	}
	if absent.Equal(zero) || zero.Equal(absent) {
		t.Error("absent equals 0")
	}
	if !absent.Equal(fulloncache.NullDecimal{}) || !some("1.0").Equal(some("1")) || some("1").Equal(some("2")) {
		t.Error("Equal")
	}
	if !absent.Equal(fulloncache.NullDecimal{Decimal: dec("3")}) {
		t.Error("what an absent number would have been decides whether it equals an absent one")
	}
}

func FuzzParseDecimal(f *testing.F) {
	for _, s := range []string{"0", "-1.50", "1e-8", "1E+3", "+5", ".5", "5.", "NaN", "0x1", "", "-", "1_000", "0e32767", "9999999999999999999.9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := fulloncache.ParseDecimal(s)
		if err != nil {
			wantErr(t, err, fulloncache.ErrInvalid)
			return
		}
		if ratOf(t, s).Cmp(ratOf(t, d.String())) != 0 {
			t.Fatalf("%q became %s", s, d)
		}
	})
}
