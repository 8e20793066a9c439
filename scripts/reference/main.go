// Command reference writes what the documentation takes from the code: the API
// reference, from the doc comments of the packages, and the table of keys, from
// internal/keys.
//
//	go run ./scripts/reference           check that docs/ is current
//	go run ./scripts/reference -write    write docs/api_reference.md, docs/api_reference/*.md and docs/keys.md
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	write := flag.Bool("write", false, "write the files, where the default is to check them")
	flag.Parse()
	if err := run(".", *write); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

// run writes or checks the files of a tree.
func run(root string, write bool) error {
	files, err := apiReference(root)
	if err != nil {
		return err
	}
	if files["docs/keys.md"], err = keyReference(root); err != nil {
		return err
	}
	var stale []error
	for name, text := range files {
		name = filepath.Join(root, name)
		if write {
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				return err
			}
			continue
		}
		old, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if string(old) != text {
			stale = append(stale, fmt.Errorf("%s is not what the code says: run make fmt", name))
		}
	}
	return errors.Join(stale...)
}
