// Command pulumi-resource-docker serves the Docker provider to Pulumi where the official plugin cannot be downloaded.
//
// It bridges the Terraform provider that the official plugin bridges and keeps its resource names, so a stack made
// with one goes on with the other. `docker.Image` is native to the official plugin and is not in here:
// build images with `docker.RemoteImage(build=...)`, which both have.
package main

import (
	"encoding/json"
	"io"
	"log"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	bridgetokens "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfgen"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

// version is the Python SDK's: Pulumi records it in the state, and its upstream is the one bridged here.
const version = "5.2.0"

func main() {
	// Upstream logs to the standard logger, which would end up on the user's terminal.
	log.SetOutput(io.Discard)
	info := providerInfo()
	schema := packageSchema(info)
	tfbridge.Main("docker", version, info, schema)
}

// providerInfo maps upstream's resources to the names that the official plugin gives them.
func providerInfo() tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:            shimv2.NewProvider(provider.New(version)()),
		Name:         "docker",
		DisplayName:  "Docker",
		Version:      version,
		Publisher:    "Pulumi",
		MetadataInfo: tfbridge.NewProviderMetadata(nil),
		Config: map[string]*tfbridge.SchemaInfo{
			"host":          {Default: &tfbridge.DefaultInfo{EnvVars: []string{"DOCKER_HOST"}}},
			"registry_auth": {Name: "registryAuth"},
		},
		Resources: map[string]*tfbridge.ResourceInfo{
			// Two containers cannot share a name or a host port, so the old one goes first.
			"docker_container": {
				DeleteBeforeReplace: true,
				Fields: map[string]*tfbridge.SchemaInfo{
					"command":           {Name: "command"},
					"networks_advanced": {Name: "networksAdvanced"},
				},
			},
			"docker_config": {Tok: "docker:index/serviceConfig:ServiceConfig"},
			"docker_image":  {Tok: "docker:index/remoteImage:RemoteImage"},
		},
		DataSources: map[string]*tfbridge.DataSourceInfo{
			"docker_image": {Tok: "docker:index/getRemoteImage:getRemoteImage"},
		},
	}
	info.MustComputeTokens(bridgetokens.SingleModule("docker_", "index", bridgetokens.MakeStandard("docker")))
	return info
}

// packageSchema is made at start: the official plugin embeds it, but generating it here keeps 1 MB out of git.
func packageSchema(info tfbridge.ProviderInfo) []byte {
	result, err := tfgen.GenerateSchemaWithOptions(tfgen.GenerateSchemaOptions{
		ProviderInfo:    info,
		DiagnosticsSink: diag.DefaultSink(io.Discard, io.Discard, diag.FormatOptions{Color: colors.Never}),
		XInMemoryDocs:   true,
	})
	if err != nil {
		panic(err)
	}
	schema, err := json.Marshal(result.PackageSpec)
	if err != nil {
		panic(err)
	}
	return schema
}
