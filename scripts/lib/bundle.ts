/** What users shall not have to install is bundled into `dist/vendor`, and what they shall not see loses its declarations. */
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { rolldown } from 'rolldown'

/** Types that users see and that come from a development dependency: copied to `dist/vendor`, with its licence. */
const VENDORED_TYPES: Readonly<Record<string, string>> = { '@standard-schema/spec': 'node_modules/@standard-schema/spec/dist/index.d.ts' }

/**
 * Replaces each compiled file of `src/vendor` by its bundle.
 * @returns the folders of the packages that went into them.
 */
export async function bundleVendors(dist: string): Promise<string[]> {
  const packages = new Set<string>()
  for (const name of readdirSync('src/vendor').filter((file) => file.endsWith('.ts'))) {
    const bundle = await rolldown({ input: `src/vendor/${name}`, platform: 'node', logLevel: 'warn' })
    const file = join(dist, 'vendor', name.replace(/\.ts$/, '.js'))
    const { output } = await bundle.write({
      file,
      format: 'esm',
      codeSplitting: false,
      minify: { compress: true, mangle: true, codegen: true },
    })
    await bundle.close()
    for (const part of output) {
      if (part.type !== 'chunk') continue
      for (const module of part.moduleIds) {
        const folder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(module)?.[0]
        if (folder !== undefined) packages.add(relative('.', folder))
      }
    }
  }
  for (const path of Object.values(VENDORED_TYPES)) packages.add(dirname(dirname(path)))
  return [...packages].sort()
}

interface PackageExports {
  exports: Record<string, string | { types: string; default: string }>
  dependencies: Record<string, string>
  peerDependencies: Record<string, string>
}

const readManifest = (): PackageExports => JSON.parse(readFileSync('package.json', 'utf8')) as PackageExports

const VENDOR = /\/vendor\/\w+\.js$/
const VENDOR_IMPORT = /(['"])(?:\.\.?\/)+vendor\/(\w+)\.js\1/g

/**
 * Joins the files behind each export into `dist/public`, with shared chunks: a module costs about half a millisecond to load, and the
 * root has eighty. The command line and the lab use the files as they are, and never these.
 */
export async function bundleExports(dist: string): Promise<void> {
  const { exports, dependencies, peerDependencies } = readManifest()
  const targets = Object.values(exports).filter((target) => typeof target !== 'string')
  const input = targets.map(({ types, default: file }) => [
    relative('dist/public', file).replace(/\.js$/, ''),
    resolve(dist, '..', types.replace(/\.d\.ts$/, '.js')),
  ])
  const installed = [...Object.keys(dependencies), ...Object.keys(peerDependencies)]
  const bundle = await rolldown({
    input: Object.fromEntries(input) as Record<string, string>,
    platform: 'node',
    logLevel: 'warn',
    external: (id) => installed.some((name) => id === name || id.startsWith(`${name}/`)),
    plugins: [
      {
        name: 'leave-vendors',
        resolveId: (id, from) => (from !== undefined && VENDOR.test(id) ? { id, external: true } : undefined),
        // A chunk lies elsewhere than the file that its import was written in.
        renderChunk: (code, { fileName }) =>
          code.replace(
            VENDOR_IMPORT,
            (_, quote: string, name: string) => `${quote}${'../'.repeat(fileName.split('/').length)}vendor/${name}.js${quote}`,
          ),
      },
    ],
  })
  await bundle.write({ dir: join(dist, 'public'), format: 'esm', entryFileNames: '[name].js', chunkFileNames: 'shared/[name]-[hash].js' })
  await bundle.close()
}

const SPECIFIER = /(\bfrom\s*|\bimport\s*\(\s*|^import\s+)(['"])([^'"]+)\2/gm

/** Follows the declarations from the exports of package.json; removes the others, and points vendored types at their copies. */
export function keepPublicDeclarations(dist: string): void {
  const { exports } = readManifest()
  const entries = Object.values(exports).flatMap((target) => (typeof target === 'string' ? [] : [resolve(dist, '..', target.types)]))
  const reached = new Set<string>()
  const visit = (file: string): void => {
    if (reached.has(file) || !existsSync(file)) return
    reached.add(file)
    const text = readFileSync(file, 'utf8').replace(SPECIFIER, (whole, before: string, quote: string, specifier: string) => {
      const vendored = VENDORED_TYPES[specifier]
      if (vendored !== undefined) return `${before}${quote}${vendorTypes(dist, file, specifier, vendored)}${quote}`
      if (!specifier.startsWith('.')) return whole
      // The compiler leaves `.ts` in declarations; there is no such file in the package.
      const target = specifier.replace(/\.ts$/, '.js')
      visit(resolve(dirname(file), target.replace(/\.js$/, '.d.ts')))
      return `${before}${quote}${target}${quote}`
    })
    writeFileSync(file, text)
  }
  for (const entry of entries) visit(entry)
  const hidden = [...reached].filter((file) => relative(dist, file).startsWith('vendor') && !file.endsWith('.types.d.ts'))
  if (hidden.length > 0) throw new Error(`public declarations must not reach bundled packages: ${hidden.join(', ')}`)
  for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
    const path = resolve(dist, file)
    if (file.endsWith('.d.ts') && !file.endsWith('.types.d.ts') && !reached.has(path)) rmSync(path)
  }
}

/** Copies the declarations once, and returns the relative specifier for `from`. */
function vendorTypes(dist: string, from: string, name: string, source: string): string {
  const copy = resolve(dist, 'vendor', `${name.replace(/^@/, '').replace('/', '-')}.types.d.ts`)
  writeFileSync(copy, readFileSync(source))
  const path = relative(dirname(from), copy).replace(/\.d\.ts$/, '.js')
  return path.startsWith('.') ? path : `./${path}`
}
