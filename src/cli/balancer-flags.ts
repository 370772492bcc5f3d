import type { FlagHelp } from './flags.ts'

export const BALANCER_FLAGS: readonly FlagHelp[] = [
  {
    name: 'to',
    value: '<url>',
    help: 'A server, http://HOST:PORT or NAME=http://HOST:PORT with NAME its node; several times or with commas',
  },
  { name: 'port', value: '<port>', help: 'Port to listen on (default 8080)' },
  { name: 'host', value: '<address>', help: 'Address to listen on (default all)' },
  { name: 'policy', value: '<name>', help: 'affinity (default), hash, least-connections or round-robin' },
  { name: 'cookie', value: '<name>', help: 'Name of the session cookie (default __Host-session)' },
  { name: 'health', value: '<path>', help: 'Path that answers 200 where a server takes requests' },
  { name: 'nginx-version', value: '<version>', help: 'From 1.29.6 on `sticky route` is used (default: what every version knows)' },
  { name: 'check', help: "Runs the balancer's own validator, where it is installed" },
]
