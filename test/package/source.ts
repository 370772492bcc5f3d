/** Reads the sources as syntax trees, for the rules that no linter knows. */
import { readFileSync, readdirSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { parseAst } from 'rolldown/parseAst'

export const ROOT = resolve(import.meta.dirname, '../..')

export interface Node {
  readonly type: string
  readonly [property: string]: unknown
}

export interface Source {
  /** From the project's folder, e.g. `src/core/jar.ts`. */
  readonly path: string
  readonly tree: Node
}

/** Every TypeScript file under the folder. */
export function sourcesUnder(folder: string): Source[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.tsx?$/.test(file) && !file.endsWith('.d.ts'))
    .map((file) => join(folder, file))
    .sort()
    .map((path) => ({ path, tree: parse(path) }))
}

function parse(path: string): Node {
  const lang = path.endsWith('x') ? 'tsx' : 'ts'
  return parseAst(readFileSync(join(ROOT, path), 'utf8'), { lang }, path) as unknown as Node
}

/** The node and all below it, with its parent. */
export function* walk(node: Node, parent?: Node): Generator<{ node: Node; parent: Node | undefined }> {
  yield { node, parent }
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) yield* walk(child, node)
  }
}

export function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}

export interface Import {
  /** As written. */
  readonly specifier: string
  /** The file it means, from the project's folder, when it is relative. */
  readonly file: string | undefined
  readonly typeOnly: boolean
}

/** Static, dynamic and re-exporting imports of a file. */
export function importsOf({ path, tree }: Source): Import[] {
  const imports: Import[] = []
  for (const { node } of walk(tree)) {
    const source = node.source
    const isImport = ['ImportDeclaration', 'ExportNamedDeclaration', 'ExportAllDeclaration', 'ImportExpression', 'TSImportType'].includes(
      node.type,
    )
    if (!isImport || !isNode(source) || typeof source.value !== 'string') continue
    const specifier = source.value
    const file = specifier.startsWith('.') ? relative(ROOT, resolve(ROOT, path, '..', specifier)) : undefined
    imports.push({ specifier, file, typeOnly: node.type === 'TSImportType' || node.importKind === 'type' || node.exportKind === 'type' })
  }
  return imports
}
