// Owns the check that files are HCL in the form of `terraform fmt`: it parses each file that is
// named, and prints those that its formatter would write differently.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

func check(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if _, diagnostics := hclwrite.ParseConfig(text, name, hcl.InitialPos); diagnostics.HasErrors() {
		return diagnostics
	}
	if formatted := hclwrite.Format(text); !bytes.Equal(formatted, text) {
		return fmt.Errorf("%s: expected:\n%s", name, formatted)
	}
	return nil
}

func main() {
	code := 0
	for _, name := range os.Args[1:] {
		if err := check(name); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	os.Exit(code)
}
