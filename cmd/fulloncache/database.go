package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

// openDatabase opens what DATABASE_URL names, or the SQLite file in the user's
// data folder.
func openDatabase(ctx context.Context) (*orm.DB, error) {
	vars, err := fulloncache.Environment()
	if err != nil {
		return nil, err
	}
	dsn := vars["DATABASE_URL"]
	if dsn == "" {
		folder, err := dataFolder()
		if err != nil {
			return nil, err
		}
		dsn = "sqlite:" + filepath.Join(folder, "fulloncache.db")
	}
	return orm.Open(ctx, dsn)
}

// dataFolder is where the user's programs keep their data.
func dataFolder() (string, error) {
	folder := os.Getenv("XDG_DATA_HOME")
	if folder == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("no place for the SQLite file: %w: set DATABASE_URL", err)
		}
		switch runtime.GOOS {
		case "windows":
			folder = filepath.Join(home, "AppData", "Local")
		case "darwin":
			folder = filepath.Join(home, "Library", "Application Support")
		default:
			folder = filepath.Join(home, ".local", "share")
		}
	}
	folder = filepath.Join(folder, "fulloncache")
	return folder, os.MkdirAll(folder, 0o700)
}

// withDatabase runs do with the database.
func (a *app) withDatabase(do func(cmd *cobra.Command, args []string, db *orm.DB) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		_, done, err := a.config() // for the log
		if err != nil {
			return err
		}
		defer done()
		db, err := openDatabase(cmd.Context())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		return do(cmd, args, db)
	}
}

// withMetadata runs do with a client that has the database behind it.
func (a *app) withMetadata(do func(cmd *cobra.Command, args []string, c *fulloncache.Client, db *orm.DB) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		cfg, done, err := a.config()
		if err != nil {
			return err
		}
		defer done()
		db, err := openDatabase(cmd.Context())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		cfg.ExchangeStore, cfg.SymbolStore = db.Exchanges, db.Symbols
		c, err := fulloncache.New(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer c.Close()
		return do(cmd, args, c, db)
	}
}

func (a *app) databaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "db",
		Short:   "Set up the database behind the caches, and keep them true to it",
		Example: "  fulloncache db status",
		Long: `Set up the database behind the caches, and keep them true to it. DATABASE_URL names it:
postgres://user:password@host/name, or sqlite:PATH. Without it a SQLite file in the
user's data folder is used.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usageError{errors.New("db: want a subcommand")} },
	}
	cmd.AddCommand(a.dbMigrate(), a.dbStatus(), a.dbSeed(), a.dbListen())
	return cmd
}

func (a *app) dbMigrate() *cobra.Command {
	return &cobra.Command{
		Use:     "migrate",
		Short:   "Create or update the tables",
		Example: "  fulloncache db migrate",
		Args:    cobra.NoArgs,
		RunE: a.withDatabase(func(cmd *cobra.Command, _ []string, db *orm.DB) error {
			if err := db.Migrate(cmd.Context()); err != nil {
				return err
			}
			return a.printMigrations(cmd.Context(), db)
		}),
	}
}

func (a *app) dbStatus() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show which migrations the database has",
		Example: "  fulloncache db status",
		Args:    cobra.NoArgs,
		RunE: a.withDatabase(func(cmd *cobra.Command, _ []string, db *orm.DB) error {
			return a.printMigrations(cmd.Context(), db)
		}),
	}
}

func (a *app) printMigrations(ctx context.Context, db *orm.DB) error {
	migrations, err := db.Migrations(ctx)
	if err != nil {
		return err
	}
	for _, m := range migrations {
		applied := "pending"
		if !m.Applied.IsZero() {
			applied = "applied " + m.Applied.Format(time.RFC3339)
		}
		if err := a.print(struct {
			Version int64     `json:"version"`
			Name    string    `json:"name"`
			Applied time.Time `json:"applied,omitzero"`
		}{m.Version, m.Name, m.Applied}, "%d  %s  %s", m.Version, m.Name, applied); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) dbSeed() *cobra.Command {
	return &cobra.Command{
		Use:     "seed",
		Short:   "Fill in a small catalogue and a demo user, where they are missing",
		Example: "  fulloncache db seed",
		Args:    cobra.NoArgs,
		RunE: a.withDatabase(func(cmd *cobra.Command, _ []string, db *orm.DB) error {
			if err := db.Seed(cmd.Context()); err != nil {
				return err
			}
			return a.print(map[string]bool{"seeded": true}, "seeded")
		}),
	}
}

func (a *app) dbListen() *cobra.Command {
	return &cobra.Command{
		Use:     "listen",
		Short:   "Make the caches forget what changes in PostgreSQL, until interrupted",
		Example: "  fulloncache db listen",
		Long: `Listen for changes of exchanges, accounts and symbols in PostgreSQL, whoever makes them,
and make the caches of all processes forget the old rows, until interrupted. One process
does it for all; several do no harm.`,
		Args: cobra.NoArgs,
		RunE: a.withMetadata(func(cmd *cobra.Command, _ []string, c *fulloncache.Client, db *orm.DB) error {
			err := db.Listen(cmd.Context(), c)
			if errors.Is(err, context.Canceled) {
				return nil // interrupted
			}
			return err
		}),
	}
}
