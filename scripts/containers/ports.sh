#!/bin/sh
# Inside of the container "ports": nginx spreads connections over the instances of a service. Names are looked up again
# every few seconds, so instances may come and go; by the resolver that this container engine names.
set -eu

resolver=$(awk '$1 == "nameserver" {print $2; exit}' /etc/resolv.conf)
case $resolver in *:*) resolver="[$resolver]" ;; esac
cat >/tmp/nginx.conf <<END
include /etc/nginx/modules-enabled/*.conf;
worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr;
events { worker_connections 1024; }
stream {
    resolver $resolver valid=5s;
    map \$server_port \$worker {
        5012 stg:5012;
        5013 dds:5013;
        5014 cdm:5014;
    }
    server {
        listen 5012;
        listen 5013;
        listen 5014;
        proxy_connect_timeout 3s;
        proxy_pass \$worker;
    }
}
END
exec nginx -c /tmp/nginx.conf -g "daemon off;"
