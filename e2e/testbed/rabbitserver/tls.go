package rabbitserver

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// ReplaceTLS has the node read other files for ssl_options that Options.Config has set,
// such as certfile, from now on. Connections that there are go on.
func (s *Server) ReplaceTLS(ctx context.Context, files map[string]string) error {
	var steps []string
	for _, option := range slices.Sorted(maps.Keys(files)) {
		text, err := os.ReadFile(files[option])
		if err != nil {
			return fmt.Errorf("replace RabbitMQ's %s: %w", option, err)
		}
		steps = append(steps, fmt.Sprintf(`ok = file:write_file(proplists:get_value(%s, O), base64:decode("%s"))`,
			option, base64.StdEncoding.EncodeToString(text)))
	}
	_, err := s.Ctl(ctx, "eval", "{ok, O} = application:get_env(rabbit, ssl_options), "+strings.Join(steps, ", ")+", ssl:clear_pem_cache().")
	return err
}
