//go:build tools

// Package tools pins the Pulumi CLI in go.mod: upstream's command is built as it is.
package tools

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
