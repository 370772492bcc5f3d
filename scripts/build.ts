/**
 * The build: TypeScript to JavaScript and declarations, bundles of what users shall not have to install, the pages, the licences.
 * It is made aside and appears whole, in `.cache/build/HASH` and as `dist`; nothing is done when the sources are those of the last build.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { bundleExports, bundleVendors, keepPublicDeclarations } from './lib/bundle.ts'
import { pagePackages, thirdPartyNotice } from './lib/licences.ts'
import { removeOldBuilds } from './lib/snapshots.mjs'

const BUILDS = '.cache/build'
const SOURCES = ['src', 'ui', 'scripts/build.ts', 'scripts/lib', 'tsconfig.json', 'package.json', 'package-lock.json']
const DEADLINE_MS = 4 * 60_000

process.chdir(resolve(import.meta.dirname, '..'))

function filesUnder(path: string): string[] {
  if (!existsSync(path)) return []
  const entries = readdirSync(path, { withFileTypes: true, recursive: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !/(^|\/)(node_modules|dist)\//.test(file))
    .sort()
}

/** Names the sources: 16 hex digits. */
function hashOfSources(): string {
  const hash = createHash('sha256')
  for (const source of SOURCES) {
    const files = source.includes('.') ? [source] : filesUnder(source)
    for (const file of files) hash.update(`${file}\0`).update(createHash('sha256').update(readFileSync(file)).digest())
  }
  return hash.digest('hex').slice(0, 16)
}

function runTool(name: string, args: readonly string[]): void {
  execFileSync(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'], timeout: DEADLINE_MS })
  console.error(`holdfast: ${name}`)
}

async function make(into: string): Promise<void> {
  const dist = join(into, 'dist')
  runTool('compiled', ['node_modules/typescript/bin/tsc', '-p', '.', '--outDir', dist])
  const bundled = await bundleVendors(dist)
  await bundleExports(dist)
  keepPublicDeclarations(dist)
  if (existsSync('ui/vite.config.ts')) {
    const pages = resolve(dist, 'ui')
    runTool('built the pages', [
      'node_modules/vite/bin/vite.js',
      'build',
      '--config',
      'ui/vite.config.ts',
      '--outDir',
      pages,
      '--emptyOutDir',
      '--logLevel',
      'warn',
    ])
  }
  writeFileSync(join(dist, 'THIRD-PARTY.md'), thirdPartyNotice([...bundled, ...pagePackages()]))
  const main = join(dist, 'cli/main.js')
  if (existsSync(main)) chmodSync(main, 0o755)
  cpSync('package.json', join(into, 'package.json'))
}

/** `dist` is for the package and the tests; running labs use the folder named after the sources. */
function publish(hash: string): void {
  const stamp = 'dist/.build'
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return
  const next = `.cache/dist-next-${process.pid}`
  const old = `.cache/dist-old-${process.pid}`
  cpSync(`${BUILDS}/${hash}/dist`, next, { recursive: true })
  writeFileSync(`${next}/.build`, hash)
  if (existsSync('dist')) renameSync('dist', old)
  renameSync(next, 'dist')
  rmSync(old, { recursive: true, force: true })
}

async function build(): Promise<void> {
  const hash = hashOfSources()
  const folder = `${BUILDS}/${hash}`
  mkdirSync(BUILDS, { recursive: true })
  if (!existsSync(folder)) {
    const startedAt = Date.now()
    const made = `.cache/build-${process.pid}`
    process.once('exit', () => rmSync(made, { recursive: true, force: true }))
    await make(made)
    renameSync(made, folder)
    console.error(`holdfast: built in ${((Date.now() - startedAt) / 1000).toFixed(1)} s`)
  }
  utimesSync(folder, new Date(), new Date())
  publish(hash)
  writeFileSync(`${BUILDS}/latest`, hash)
  removeOldBuilds(hash)
}

try {
  await build()
} catch (error) {
  // A tool that failed has said why.
  const fromTool = typeof error === 'object' && error !== null && 'status' in error
  console.error(fromTool ? 'holdfast: the build stopped' : error)
  process.exit(1)
}
