# The oracle of arguments: what OptionParser makes of a command line, with EmrEtlRunner 1.0.4's commands and options.
#
# Request: {"argv": [WORD…]}. Answer: {"ok": {"command": NAME, "options": {…}, "stops": null or why}} when the words parse, else {"exit": CODE, "message": TEXT}.
# `stops` says why the runner would end before it reads a config, as far as the arguments alone decide it; a command other than `run` launches nothing anyway.

require 'optparse'
require_relative 'protocol'

module Arguments
  RESUMABLE = %w[enrich shred elasticsearch archive_raw rdb_load analyze archive_enriched archive_shredded staging_stream_enrich].freeze
  SKIPPABLE = %w[staging enrich shred elasticsearch archive_raw rdb_load consistency_check analyze load_manifest_check archive_enriched archive_shredded
                 staging_stream_enrich].freeze
  INCLUDABLE = %w[vacuum].freeze

  # Every option of every command: how it is declared, the key it sets, and what else OptionParser is told. A switch has no argument in its long form.
  OPTIONS = {
    config: ['-c', '--config CONFIG', :config_file],
    enrichments: ['-n', '--enrichments ENRICHMENTS', :enrichments_directory],
    resolver: ['-r', '--resolver RESOLVER', :resolver_file],
    targets: ['-t', '--targets TARGETS', :targets_directory],
    debug: ['-d', '--debug', :debug],
    resume: ['-f', "--resume-from {#{RESUMABLE.join(',')}}", :resume_from],
    skip: ['-x', "--skip {#{SKIPPABLE.join(',')}}", :skip, Array],
    include: ['-i', "--include {#{INCLUDABLE.join(',')}}", :include, Array],
    lock: ['-l', '--lock PATH', :lock],
    ignore_lock: [nil, '--ignore-lock-on-start', :ignore_lock_on_start],
    consul: [nil, '--consul ADDRESS', :consul],
    persistent: [nil, '--use-persistent-jobflow', :use_persistent_jobflow],
    duration: [nil, '--persistent-jobflow-duration DURATION', :persistent_jobflow_duration],
    filename_f: ['-f', '--filename FILENAME', :filename],
    filename_o: ['-o', '--filename FILENAME', :filename],
    schemaver: ['-s', '--schemaver VERSION', :schemaver]
  }.freeze

  COMMANDS = {
    'run' => %i[config enrichments resolver targets debug resume skip include lock ignore_lock consul persistent duration],
    'generate emr-config' => %i[config resolver filename_f schemaver],
    'generate emr-playbook' => %i[config enrichments resolver debug resume skip include filename_o schemaver],
    'generate all' => %i[config enrichments resolver debug resume],
    'lint resolver' => %i[resolver],
    'lint enrichments' => %i[resolver enrichments],
    'lint all' => %i[resolver enrichments]
  }.freeze

  DEFAULTS = {
    config_file: nil, debug: false, skip: [], resume_from: nil, include: [], lock: nil, use_persistent_jobflow: false,
    persistent_jobflow_duration: '0m', targets_directory: nil, enrichments_directory: nil, resolver_file: nil, ignore_lock_on_start: false, consul: nil
  }.freeze

  # The runner ended on purpose, with this exit code.
  class Ended < StandardError
    attr_reader :code

    def initialize(code, message)
      super(message)
      @code = code
    end
  end

  def self.parser(names, options)
    OptionParser.new do |parser|
      names.each do |name|
        short, long, key, *more = OPTIONS.fetch(name)
        takes_value = long.include?(' ')
        parser.on(*[short, long, *more].compact) { |value| options[key] = takes_value ? value : true }
      end
    end
  end

  # The global options, then a command of one word or two, then that command's options up to the first word that is none.
  def self.parse(words)
    options = DEFAULTS.dup
    global = OptionParser.new do |parser|
      parser.on('-v', '--version') { raise Ended.new(0, 'version') }
    end
    global.order!(words)
    command = words.shift
    raise Ended.new(1, 'empty command') unless command

    unless COMMANDS.key?(command)
      second = words.shift
      raise Ended.new(1, "invalid command #{command}") unless second

      command += " #{second}"
      raise Ended.new(1, "invalid command #{command}") unless COMMANDS.key?(command)
    end
    parser(COMMANDS.fetch(command), options).order!(words)
    { command: command, options: options, stops: stops(options) }
  end

  # What the runner refuses on the strength of the arguments alone.
  def self.stops(options)
    if options[:config_file].nil? then 'no config'
    elsif options[:resolver_file].nil? then 'no resolver'
    elsif !options[:resume_from].nil? && !RESUMABLE.include?(options[:resume_from]) then 'resume-from names no step'
    elsif !(options[:skip] - SKIPPABLE).empty? then 'skip names no step'
    elsif !options[:resume_from].nil? && !options[:skip].empty? then 'resume-from with skip'
    elsif !(options[:include] - INCLUDABLE).empty? then 'include names no step'
    end
  end
end

# No request may inherit what changes how options are read.
ENV.delete('POSIXLY_CORRECT')
Protocol.serve do |request|
  begin
    { ok: Arguments.parse(request.fetch('argv')) }
  rescue Arguments::Ended => ended
    { exit: ended.code, message: ended.message }
  rescue SystemExit => help
    { exit: help.status, message: 'help' }
  rescue Object => error
    { exit: 1, message: Protocol.explain(error) }
  end
end
