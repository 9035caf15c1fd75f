SELECT {{template "server_started"}} AS started, {{template "server_address"}} AS address
