/** `node in-namespace.ts NAMESPACE CONFIG`: becomes a table server in that network namespace, under the same process id. */
import { fileURLToPath } from 'node:url'

const [namespace = '', config = ''] = process.argv.slice(2)
const server = fileURLToPath(new URL('./table-server.ts', import.meta.url))
const environment = Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== undefined)) as Record<string, string>
const ip = ['/usr/sbin/ip', '/sbin/ip', '/usr/bin/ip'].find((path) => process.getBuiltinModule('node:fs').existsSync(path))
if (ip === undefined || process.execve === undefined) throw new Error('needs ip and process.execve')
// The pipe of the leash does not survive: the server ends with its standard input instead.
const flags = process.execArgv.filter((flag, at, list) => flag !== '--import' && list[at - 1] !== '--import')
process.execve(ip, ['ip', 'netns', 'exec', namespace, process.execPath, ...flags, server, config], environment)
