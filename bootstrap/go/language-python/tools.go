//go:build tools

// Package tools pins Pulumi's Python language host in go.mod. Newer hosts are no longer part of a module that the Go
// proxy serves; this one speaks the same protocol. Its dependencies are too old to share a go.mod with the CLI.
package tools

import _ "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
