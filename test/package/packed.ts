/** The package as users get it: packed, and unpacked into a project of its own that has what users have. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { ROOT } from './source.ts'

const DEADLINE_MS = 60_000
const execute = promisify(execFile)

/** Runs a program of node_modules or a script with this Node; resolves to its output, rejects with it. */
export async function node(args: readonly string[], cwd: string = ROOT): Promise<string> {
  try {
    const { stdout, stderr } = await execute(process.execPath, args, { cwd, timeout: DEADLINE_MS, maxBuffer: 2 ** 26 })
    return stdout + stderr
  } catch (error) {
    const { stdout, stderr, message } = error as { stdout?: string; stderr?: string; message: string }
    throw new Error(`${args.join(' ')}\n${stdout ?? ''}${stderr ?? ''}${stdout || stderr ? '' : message}`, { cause: error })
  }
}

export interface Manifest {
  exports: Record<string, string | { types: string; default: string }>
  dependencies: Record<string, string>
  peerDependencies: Record<string, string>
  peerDependenciesMeta: Record<string, { optional?: boolean }>
  bin: Record<string, string>
}

export const manifest = async (): Promise<Manifest> => JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Manifest

export interface Packed {
  readonly tarball: string
  readonly bytes: number
  readonly files: readonly string[]
  /** A project with `node_modules/holdfast` and its dependencies. */
  readonly project: string
  remove(): Promise<void>
}

export async function pack(): Promise<Packed> {
  if (!existsSync(join(ROOT, 'dist/index.js'))) throw new Error('there is no build to pack: run npm run build first')
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-pack-'))
  const { stdout } = await execute('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: ROOT,
    timeout: DEADLINE_MS,
  })
  const parsed = JSON.parse(stdout) as unknown
  // npm 12 answers with an object by package name, older ones with a list.
  const [packed] = Object.values(parsed as Record<string, { filename: string; size: number; files: { path: string }[] }>)
  if (packed === undefined) throw new Error('npm pack packed nothing')
  const tarball = join(folder, packed.filename)
  const project = join(folder, 'project')
  const modules = join(project, 'node_modules')
  await mkdir(join(modules, 'holdfast'), { recursive: true })
  await execute('tar', ['-xzf', tarball, '-C', join(modules, 'holdfast'), '--strip-components=1'], { timeout: DEADLINE_MS })
  for (const name of [...Object.keys((await manifest()).dependencies), '@types/node', 'undici-types']) {
    await mkdir(dirname(join(modules, name)), { recursive: true })
    await symlink(join(ROOT, 'node_modules', name), join(modules, name))
  }
  await cp(join(ROOT, 'test/package/typed-use'), project, { recursive: true })
  await cp(join(ROOT, 'test/package/probes'), join(project, 'probes'), { recursive: true })
  const files = packed.files.map(({ path }) => path)
  return { tarball, bytes: packed.size, files, project, remove: () => rm(folder, { recursive: true, force: true }) }
}
