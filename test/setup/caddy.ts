/** Debian's Caddy for tests: 127.0.0.1 only, its files in a temporary folder, without its control port. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BalancerProcess, launchBalancer, type RunningBalancer } from './balancer.ts'

/** `config` has to bind 127.0.0.1 at `port`. */
export async function startCaddy(config: string, port: number, routeSecret: string): Promise<RunningBalancer> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-caddy-'))
  const file = join(folder, 'Caddyfile')
  const launch = async (text: string): Promise<BalancerProcess> => {
    await writeFile(file, `{\n\tadmin off\n}\n${text}`)
    const env = { HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder, HOLDFAST_ROUTE_SECRET: routeSecret }
    return launchBalancer('caddy', ['run', '--adapter', 'caddyfile', '--config', file], port, env)
  }
  let caddy = await launch(config)
  return {
    get pid() {
      return caddy.pid
    },
    url: `http://127.0.0.1:${port}`,
    output: () => caddy.output(),
    /** Without its control port it is started anew. */
    async reload(text) {
      await caddy.stop()
      caddy = await launch(text)
    },
    async stop() {
      await caddy.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
