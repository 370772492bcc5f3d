/** Debian's HAProxy for tests: 127.0.0.1 only, its configuration in a temporary folder. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BalancerProcess, launchBalancer, type RunningBalancer } from './balancer.ts'
import { waitFor } from './servers.ts'

/** `config` has to bind 127.0.0.1 at `port`. */
export async function startHaproxy(config: string, port: number): Promise<RunningBalancer> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-haproxy-'))
  const file = join(folder, 'haproxy.cfg')
  await writeFile(file, config)
  const launch = (...more: string[]): Promise<BalancerProcess> => launchBalancer('haproxy', ['-db', '-f', file, ...more], port)
  let haproxy = await launch()
  const former: BalancerProcess[] = []
  return {
    get pid() {
      return haproxy.pid
    },
    url: `http://127.0.0.1:${port}`,
    output: () => haproxy.output(),
    /** The new process binds beside the old one (SO_REUSEPORT) and asks it to finish what it has. */
    async reload(text) {
      await writeFile(file, text)
      const last = haproxy
      former.push(last)
      haproxy = await launch('-sf', String(last.pid))
      await waitFor(() => last.output().includes('Proxy holdfast_front stopped'), 5_000, 'the former HAProxy giving its port up')
    },
    async stop() {
      await Promise.all([haproxy, ...former].map((one) => one.stop()))
      await rm(folder, { recursive: true, force: true })
    },
  }
}
