/** Debian's nginx for tests: 127.0.0.1 only, its files in a temporary folder. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { launchBalancer, type RunningBalancer } from './balancer.ts'
import { waitFor } from './servers.ts'

const TEMPORARY = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

/** `config` has to listen on 127.0.0.1 at `port`. */
export async function startNginx(config: string, port: number): Promise<RunningBalancer> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-nginx-'))
  const file = join(folder, 'nginx.conf')
  const own = TEMPORARY.map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ')
  const write = (text: string): Promise<void> => writeFile(file, text.replace('http {', `http { ${own}`))
  await write(config)
  // Its workers must reach the folder.
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  const globals = `daemon off; error_log stderr notice; pid ${folder}/nginx.pid; ${user}`
  const nginx = await launchBalancer('nginx', ['-p', folder, '-c', file, '-g', globals], port)
  return {
    pid: nginx.pid,
    url: `http://127.0.0.1:${port}`,
    output: nginx.output,
    async reload(text) {
      await write(text)
      const before = nginx.output().length
      nginx.signal('SIGHUP')
      // Workers of the former configuration may accept once more while they end, and hang up then.
      const count = (log: string, what: string): number => log.split(what).length - 1
      const former = nginx.output().slice(0, before)
      const workers = count(former, 'start worker process ') - count(former, 'exited with code')
      const isDone = (): boolean => count(nginx.output().slice(before), 'exited with code') >= Math.max(1, workers)
      await waitFor(isDone, 10_000, 'nginx reloading')
    },
    async stop() {
      await nginx.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
