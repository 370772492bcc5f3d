// `npm start`, `npm test` and the others on a fresh clone: sets up what is missing, then goes on under Node 24.
// Plain JavaScript for Node 20: it runs before anything is installed.
import process from 'node:process'
import { Failure, exitWith, forwardTo, run, say } from './lib/process.mjs'
import { installDependencies } from './lib/dependencies.mjs'
import { withLock } from './lib/lock.mjs'
import { environmentFor, findNode } from './lib/node.mjs'
import { latestBuild, markInUse } from './lib/snapshots.mjs'
import { missingServers, requireServers } from './lib/servers.mjs'

const MINUTES = 60_000

const TEST_SERVERS = [
  'redis-server',
  'valkey-server',
  'memcached',
  'postgres',
  'mariadbd',
  'nats-server',
  'openssl',
  'chromium',
  'nginx',
  'haproxy',
  'caddy',
]

/**
 * Under the lock: dependencies, Node, servers, build. A warm clone touches neither the network nor the disk beyond stamps.
 * @param {{ servers?: readonly string[], optional?: boolean, build?: boolean }} wanted
 */
async function setUp(wanted) {
  return withLock(async () => {
    await installDependencies()
    const node = await findNode()
    const environment = environmentFor(node)
    if (wanted.servers !== undefined) await (wanted.optional ? missingServers : requireServers)(wanted.servers)
    if (wanted.build !== false) {
      const built = await run(node, ['scripts/build.ts'], { env: environment, show: true, deadlineMs: 5 * MINUTES })
      if (built.code !== 0) throw new Failure('the build failed: mend what is printed above and run this again')
    }
    const folder = wanted.build === false ? undefined : latestBuild()
    if (folder !== undefined) markInUse(folder)
    return { node, environment, folder }
  })
}

/** @type {Record<string, (args: string[]) => Promise<number>>} */
const commands = {
  /** The lab runs from a folder of its own, so that a later build takes nothing from under it. */
  async start(args) {
    const { node, environment, folder } = await setUp({})
    const script = `${String(folder)}/dist/cli/main.js`
    return forwardTo(node, ['--import', new URL('./leash.mjs', import.meta.url).href, script, 'lab', ...args], environment)
  },
  async test(args) {
    const only = args.length > 0
    const { node, environment } = await setUp({ servers: TEST_SERVERS, optional: only })
    return forwardTo(node, ['scripts/test.ts', ...args], { ...environment, NODE_ENV: 'test' })
  },
  async bench(args) {
    const isGateway = args[0] === 'gateway'
    const { node, environment } = await setUp({ servers: isGateway ? ['nginx', 'wrk'] : ['redis-server', 'postgres', 'memcached', 'wrk'] })
    if (isGateway) return forwardTo(node, ['bench/gateway.ts', ...args.slice(1)], environment)
    if (args[0] === 'cluster') return forwardTo(node, ['bench/cluster.ts', ...args.slice(1)], environment)
    const isOutage = args[0] === 'outage'
    return forwardTo(node, isOutage ? ['bench/outage.ts'] : ['bench/main.ts', ...args], environment)
  },
  async screenshots() {
    const { node, environment } = await setUp({ servers: ['chromium'] })
    return forwardTo(node, ['scripts/screenshots.ts'], environment)
  },
  async simulate(args) {
    const { node, environment } = await setUp({ build: false })
    return forwardTo(node, ['test/simulation/main.ts', ...args], environment)
  },
  async build() {
    await setUp({})
    return 0
  },
  async lint(args) {
    const { node, environment } = await setUp({ build: false })
    return forwardTo(node, ['scripts/checks.ts', ...args], environment)
  },
  async format(args) {
    const { node, environment } = await setUp({ build: false })
    const paths = args.length > 0 ? args : ['.']
    return forwardTo(node, ['node_modules/@biomejs/biome/bin/biome', 'format', '--write', ...paths], environment)
  },
}

process.chdir(new URL('..', import.meta.url).pathname)
const [name = '', ...args] = process.argv.slice(2)
const command = Object.hasOwn(commands, name) ? commands[name] : undefined
if (command === undefined) {
  say(`unknown command "${name}": use one of ${Object.keys(commands).join(', ')}`)
  exitWith(2)
} else {
  command(args).then(exitWith, (error) => {
    say(error instanceof Failure ? error.message : String(error?.stack ?? error))
    exitWith(1)
  })
}
