package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

func (a *app) exchangeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "exchange",
		Short:   "Show exchanges and accounts, from the cache or the database",
		Example: "  fulloncache exchange list",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return usageError{errors.New("exchange: want a subcommand")} },
	}
	cmd.AddCommand(a.exchangeList(), a.exchangeGet())
	return cmd
}

func (a *app) exchangeList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the catalogue of exchanges, or with --user a user's accounts",
		Example: `  fulloncache exchange list
  fulloncache exchange list --user 7`,
		Args: cobra.NoArgs,
	}
	user := cmd.Flags().Int64("user", 0, "list the accounts of the user with this id")
	cmd.RunE = a.withMetadata(func(cmd *cobra.Command, _ []string, c *fulloncache.Client, _ *orm.DB) error {
		if cmd.Flags().Changed("user") {
			list, err := c.Exchanges.ByUser(cmd.Context(), *user)
			if err != nil {
				return err
			}
			return table(a, []string{"ID", "EXCHANGE", "NAME", "ACTIVE", "TEST"}, list, func(e fulloncache.Exchange) []string {
				return []string{strconv.FormatInt(e.ID, 10), e.CatName, e.Name, strconv.FormatBool(e.Active), strconv.FormatBool(e.Test)}
			})
		}
		list, err := c.Exchanges.Catalogue(cmd.Context())
		if err != nil {
			return err
		}
		return table(a, []string{"ID", "NAME", "PARAMETERS"}, list, func(e fulloncache.CatExchange) []string {
			return []string{strconv.FormatInt(e.ID, 10), e.Name, params(e.Params)}
		})
	})
	return cmd
}

func (a *app) exchangeGet() *cobra.Command {
	return &cobra.Command{
		Use:     "get NAME|ID",
		Short:   "Show an exchange of the catalogue by its name, or an account by its id",
		Example: "  fulloncache exchange get kraken",
		Args:    cobra.ExactArgs(1),
		RunE: a.withMetadata(func(cmd *cobra.Command, args []string, c *fulloncache.Client, _ *orm.DB) error {
			if id, err := strconv.ParseInt(args[0], 10, 64); err == nil {
				e, err := c.Exchanges.Get(cmd.Context(), id)
				if err != nil {
					return err
				}
				return a.print(e, "account %d  %s  %s  of user %d  active %t  test %t  (read %s ago)",
					e.ID, e.CatName, e.Name, e.UserID, e.Active, e.Test, people(e.Age(time.Now())))
			}
			e, err := c.Exchanges.ByName(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(e, "exchange %d  %s  %s  (read %s ago)", e.ID, e.Name, params(e.Params), people(time.Since(e.Loaded)))
		}),
	}
}

// params are parameters in a line for people.
func params(m map[string]string) string {
	list := make([]string, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprintf("%s=%s", name, m[name]))
	}
	return strings.Join(list, " ")
}
