/** Bundled into the package by the build: what the command line prints to people. */
export { box, cancel, intro, isCancel, log, note, outro, spinner, taskLog, text } from '@clack/prompts'
