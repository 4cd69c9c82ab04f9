// Command pulumi-resource-random serves the random provider to Pulumi where the official plugin cannot be downloaded.
//
// It bridges the Terraform provider that the official plugin bridges and keeps its resource names, so a stack made
// with one goes on with the other.
package main

import (
	"context"
	"io"
	"unicode"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfgen"
	bridge "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"
	"github.com/terraform-providers/terraform-provider-random/internal/provider"
)

// version is the Python SDK's: Pulumi records it in the state.
const version = "4.21.4"

func main() {
	ctx := context.Background()
	info := providerInfo()
	tfbridge.Main(ctx, "random", info, packageSchema(ctx, info))
}

// providerInfo maps upstream's resources to the names that the official plugin gives them.
func providerInfo() bridge.ProviderInfo {
	info := bridge.ProviderInfo{
		P:            tfbridge.ShimProvider(provider.New()),
		Name:         "random",
		DisplayName:  "Random",
		Version:      version,
		Publisher:    "Pulumi",
		MetadataInfo: bridge.NewProviderMetadata(nil),
		// Its ID is the random value in plain text, which Pulumi cannot encrypt: nobody should make one.
		IgnoreMappings: []string{"random_bytes"},
	}
	info.MustComputeTokens(tokens.SingleModule("random_", "index", prefixedToken))
	return info
}

// prefixedToken names random_password RandomPassword, not Password, as the official plugin does.
func prefixedToken(module, name string) (string, error) {
	return tokens.MakeStandard("random")(module, "Random"+string(unicode.ToUpper(rune(name[0])))+name[1:])
}

// packageSchema is made at start: the official plugin embeds it, but generating it here keeps it out of git.
func packageSchema(ctx context.Context, info bridge.ProviderInfo) tfbridge.ProviderMetadata {
	result, err := tfgen.GenerateSchema(ctx, tfgen.GenerateSchemaOptions{
		ProviderInfo:    info,
		DiagnosticsSink: diag.DefaultSink(io.Discard, io.Discard, diag.FormatOptions{Color: colors.Never}),
		XInMemoryDocs:   true,
	})
	if err != nil {
		panic(err)
	}
	return result.ProviderMetadata
}
