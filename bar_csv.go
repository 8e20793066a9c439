package fulloncache

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"
)

// ReadBars reads bars of a timeframe from CSV: a first line that names the columns, in
// any order, then a bar a line. It knows the columns timestamp (or time, or date), open, high,
// low, close and volume, and leaves others aside. Times are RFC 3339 or seconds since
// 1970, prices exact decimals.
//
// A line that is malformed, or is no bar of the timeframe, see [Bar.Validate], yields
// its error, an [ErrInvalid] that names line and field, with the zero Bar, and the
// reading goes on; if nothing further can be read, that error is the last element.
//
//	for bar, err := range fulloncache.ReadBars(file, "1m") { … }
func ReadBars(r io.Reader, timeframe Timeframe) iter.Seq2[Bar, error] {
	return func(yield func(Bar, error) bool) {
		p, err := timeframe.period()
		if err != nil {
			yield(Bar{}, err)
			return
		}
		in := csv.NewReader(r)
		in.ReuseRecord, in.FieldsPerRecord, in.TrimLeadingSpace = true, -1, true
		head, err := in.Read()
		if err != nil {
			yield(Bar{}, csvError(err))
			return
		}
		columns, err := barColumns(head)
		if err != nil {
			yield(Bar{}, err)
			return
		}
		for {
			record, err := in.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			var malformed *csv.ParseError
			if err != nil && !errors.As(err, &malformed) {
				yield(Bar{}, err)
				return
			}
			var b Bar
			if err != nil {
				err = csvError(err)
			} else if b, err = parseBar(record, columns, &p); err != nil {
				line, _ := in.FieldPos(0)
				b, err = Bar{}, fmt.Errorf("%w: line %d: %w", ErrInvalid, line, err)
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// csvError says that what was read is no CSV, unless it could not be read.
func csvError(err error) error {
	var malformed *csv.ParseError
	switch {
	case errors.As(err, &malformed):
		return fmt.Errorf("%w: line %d: %w", ErrInvalid, malformed.StartLine, malformed.Err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it is empty: want a line that names the columns", ErrInvalid)
	}
	return err
}

// barColumns finds the columns of barFields.
func barColumns(head []string) (columns [len(barFields)]int, err error) {
	for i, field := range barFields {
		columns[i] = -1
		for at, name := range head {
			name = strings.ToLower(strings.TrimPrefix(strings.TrimSpace(name), "\ufeff"))
			if i == 0 && (name == "timestamp" || name == "date") {
				name = field
			}
			if name != field {
				continue
			}
			if columns[i] >= 0 {
				return columns, fmt.Errorf("%w: line 1: the column %s is there twice", ErrInvalid, field)
			}
			columns[i] = at
		}
		if columns[i] < 0 {
			return columns, fmt.Errorf("%w: line 1: the column %s is missing: want timestamp, open, high, low, close and volume", ErrInvalid, field)
		}
	}
	return columns, nil
}

func parseBar(record []string, columns [len(barFields)]int, p *period) (b Bar, err error) {
	numbers := [...]*Decimal{&b.Open, &b.High, &b.Low, &b.Close, &b.Volume}
	for i, at := range columns {
		field := barFields[i]
		if at >= len(record) {
			return b, fmt.Errorf("%s: missing", field)
		}
		text := strings.TrimSpace(record[at])
		if i == 0 {
			b.Time, err = parseSeconds(text)
		} else {
			*numbers[i-1], err = ParseDecimal(text)
		}
		if err != nil {
			return b, fmt.Errorf("%s: %w", field, err)
		}
	}
	if name, err := b.invalid(p); err != nil {
		return b, fmt.Errorf("%s %w", name, err)
	}
	return b, nil
}

// parseSeconds reads a time: RFC 3339, or whole seconds since 1970.
func parseSeconds(text string) (time.Time, error) {
	whole, zeros, _ := strings.Cut(text, ".")
	if seconds, err := strconv.ParseUint(whole, 10, 40); err == nil && strings.Trim(zeros, "0") == "" {
		return unixUTC(int64(seconds)), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: want RFC 3339 or whole seconds since 1970", excerpt(text))
	}
	return t.UTC(), nil
}
