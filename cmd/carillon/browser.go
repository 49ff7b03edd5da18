package main

import (
	"context"
	"os/exec"
)

// browserCommand is how a system opens a URL in its user's browser.
func browserCommand(ctx context.Context, system, url string) *exec.Cmd {
	switch system {
	case "darwin":
		return exec.CommandContext(ctx, "open", url)
	case "windows":
		return exec.CommandContext(ctx, "rundll32", "url.dll,FileProtocolHandler", url)
	}
	return exec.CommandContext(ctx, "xdg-open", url)
}
