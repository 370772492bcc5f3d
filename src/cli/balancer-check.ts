/** `--check`: the balancer's own validator over the configuration, where it is installed. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

export interface Validator {
  readonly program: string
  /** Name of the file that is checked: some tell the format by it. */
  readonly file: string
  args(file: string, folder: string): readonly string[]
}

export type Verdict =
  | { readonly outcome: 'valid' }
  | { readonly outcome: 'missing' }
  | { readonly outcome: 'invalid'; readonly why: string }

const DEADLINE_MS = 20_000

export const VALIDATORS: Readonly<Record<string, Validator>> = {
  nginx: {
    program: 'nginx',
    file: 'nginx.conf',
    args: (file, folder) => ['-t', '-p', folder, '-c', file, '-g', `error_log stderr; pid ${join(folder, 'nginx.pid')};`],
  },
  haproxy: { program: 'haproxy', file: 'haproxy.cfg', args: (file) => ['-c', '-f', file] },
  envoy: { program: 'envoy', file: 'envoy.yaml', args: (file) => ['--mode', 'validate', '-c', file] },
  caddy: { program: 'caddy', file: 'Caddyfile', args: (file) => ['validate', '--adapter', 'caddyfile', '--config', file] },
  // Traefik has no validator: it refuses a file when it loads it.
  kubernetes: { program: 'kubectl', file: 'holdfast.yaml', args: (file) => ['apply', '--dry-run=client', '--validate=false', '-f', file] },
}

export async function validate({ args, file, program }: Validator, config: string): Promise<Verdict> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-balancer-'))
  try {
    const path = join(folder, file)
    await writeFile(path, config)
    return await run(program, args(path, folder))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function run(program: string, args: readonly string[]): Promise<Verdict> {
  // Debian keeps servers where only root's PATH looks; what Caddy puts into the file is no matter for its validator.
  const env = {
    HOLDFAST_ROUTE_SECRET: 'any',
    ...process.env,
    PATH: [process.env['PATH'], '/usr/sbin', '/usr/local/sbin'].filter(Boolean).join(delimiter),
  }
  return new Promise((resolve) => {
    execFile(program, [...args], { env, timeout: DEADLINE_MS, killSignal: 'SIGKILL', encoding: 'utf8' }, (error, stdout, stderr) => {
      if (error === null) resolve({ outcome: 'valid' })
      else if (error.code === 'ENOENT') resolve({ outcome: 'missing' })
      else resolve({ outcome: 'invalid', why: error.killed === true ? `no answer within ${DEADLINE_MS} ms` : reasonIn(stderr || stdout) })
    })
  })
}

/** The first line that names an error. */
function reasonIn(output: string): string {
  const lines = output.trim().split('\n')
  return (lines.find((line) => /emerg|alert|error/i.test(line)) ?? lines.at(-1) ?? '').slice(0, 500)
}
