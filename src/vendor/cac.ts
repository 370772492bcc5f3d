/** Bundled into the package by the build: the command line's parser. */
export { CAC, cac } from 'cac'
export type { Command } from 'cac'
