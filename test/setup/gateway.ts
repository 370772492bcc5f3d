/** `holdfast gateway` as a process of its own, in the place of another balancer. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { RunningBalancer } from './balancer.ts'
import { spawnNode, waitFor } from './servers.ts'

const CLI = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

/** `config`: what `--config` takes, as JSON. */
export async function startGateway(config: string, port: number): Promise<RunningBalancer> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-gateway-'))
  const file = join(folder, 'gateway.json')
  await writeFile(file, config)
  const gateway = await spawnNode(CLI, { args: ['gateway', '--config', file], ready: /^ready: gateway/ })
  const reloads = (): number => gateway.output().split('reloaded: ').length
  return {
    pid: gateway.pid,
    url: `http://127.0.0.1:${port}`,
    output: gateway.output,
    async reload(text) {
      const before = reloads()
      await writeFile(file, text)
      process.kill(gateway.pid, 'SIGHUP')
      await waitFor(() => reloads() > before, 15_000, 'the gateway reloading')
    },
    async stop() {
      await gateway.kill()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
