SELECT {{template "passes_for_standby"}} AS passes_for_standby
