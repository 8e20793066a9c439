package main

import (
	"fmt"
	"iter"
	"strings"
	"text/tabwriter"
	"time"
)

// table prints a list: as a table to people, one JSON object a line to programs.
func table[T any](a *app, head []string, list []T, cells func(T) []string) error {
	if a.json {
		for _, v := range list {
			if err := a.print(v, ""); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	rows := [][]string{head}
	for _, v := range list {
		rows = append(rows, cells(v))
	}
	for _, row := range rows {
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// listing prints what is listed and can be read, as table does, reports what
// cannot, and fails if there was such a thing.
func listing[T any](a *app, what string, head []string, list iter.Seq2[T, error], cells func(T) []string) error {
	var good []T
	var bad []error
	for v, err := range list {
		if err != nil {
			bad = append(bad, err)
			continue
		}
		good = append(good, v)
	}
	if len(good) == 0 && len(bad) == 1 {
		return bad[0] // there is no list
	}
	if err := table(a, head, good, cells); err != nil {
		return err
	}
	for _, err := range bad {
		a.warn(err)
	}
	if len(bad) > 0 {
		return fmt.Errorf("%d %s could not be listed", len(bad), what)
	}
	return nil
}

// people is how long a time is, for people.
func people(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 48*time.Hour:
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// readable reads a listing, and reports what cannot be read.
func readable[T any](a *app, list iter.Seq2[T, error]) (all []T, bad int) {
	for v, err := range list {
		if err != nil {
			bad++
			a.warn(err)
			continue
		}
		all = append(all, v)
	}
	return all, bad
}
